#include "artifacts/sha256.h"
