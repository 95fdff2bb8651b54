// ftctl backup: a copy of ftd's database.
#include <iostream>

#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/verbs.h"
#include "client/rpc/backup.h"
#include "client/rpc/connection.h"
#include "client/text/text.h"
#include "lib/base/short_bytes.h"

namespace ftd {

// An older backup of that name is replaced, as whoever makes one a day expects.
int BackupVerb(const Invocation& call) {
  std::string file;
  bool quiet = false;
  Flags flags(call, "backup",
              "Copy ftd's database into FILE, mode 0600, while ftd continues. It has the jobs and "
              "what became\n"
              "of them; checkpoints, logs, uploads and results are files of the state directory. "
              "FILE is replaced\n"
              "by the whole copy or not at all. For admins.",
              "  ftctl backup ftd-backup.db\n");
  flags.Positional("FILE", "Where to", &file, "FILE");
  flags.Switch("-q,--quiet", "No talk", &quiet);
  if (const auto code = flags.Parse()) return *code;
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  const auto bytes = BackUpDatabase(**connection, file);
  if (!bytes.ok()) return Fail(bytes.status());
  if (!quiet)
    std::cerr << "The database, " << ShortBytes(*bytes) << ", is in " << Printable(file) << "."
              << std::endl;
  return kExitOk;
}

}  // namespace ftd
