#include "artifacts/dataset.h"
