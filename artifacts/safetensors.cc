#include "artifacts/safetensors.h"
