#include "artifacts/model_config.h"
