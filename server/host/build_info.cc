#include "server/host/build_info.h"

namespace ftd {

const char kVersion[] = FTD_VERSION;
const char kRevision[] = FTD_REVISION;

}  // namespace ftd
