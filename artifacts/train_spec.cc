#include "artifacts/train_spec.h"
