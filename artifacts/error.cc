#include "artifacts/error.h"
