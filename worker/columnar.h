// The reader of Parquet and Arrow files, where it is in this build.
#pragma once

#include "artifacts/dataset/row_reader.h"

#ifdef FTD_ARROW
#include "artifacts/dataset/arrow_rows.h"
#endif

namespace ftd {

#ifdef FTD_ARROW
inline constexpr OpenColumnarRows kOpenColumnar = &OpenArrowRows;
#else
inline constexpr OpenColumnarRows kOpenColumnar = nullptr;
#endif

}  // namespace ftd
