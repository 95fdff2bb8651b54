#include "artifacts/file.h"
