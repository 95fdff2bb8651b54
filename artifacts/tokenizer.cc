#include "artifacts/tokenizer.h"
