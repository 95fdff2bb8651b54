#include "artifacts/step_log.h"
