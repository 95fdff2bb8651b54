#include "artifacts/manifest.h"
