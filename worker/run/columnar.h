// The reader of Parquet and Arrow files, where it is in this build.
#pragma once

#include "lib/data/rows/row_reader.h"

#ifdef FTD_ARROW
#include "lib/data/rows/arrow_rows.h"
#endif

namespace ftd {

#ifdef FTD_ARROW
inline constexpr OpenColumnarRows kOpenColumnar = &OpenArrowRows;
#else
inline constexpr OpenColumnarRows kOpenColumnar = nullptr;
#endif

}  // namespace ftd
