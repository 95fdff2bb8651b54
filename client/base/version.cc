#include "client/base/version.h"

namespace ftd {

const char kFtctlVersion[] = FTD_VERSION;
const char kFtctlRevision[] = FTD_REVISION;

}  // namespace ftd
