#include "artifacts/record_log.h"
