#include "artifacts/judge.h"
