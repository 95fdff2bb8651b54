// Files of a directory that somebody else fills, such as a model's or an adapter's.
//
// Whoever fills it may put a link there, at any time, to a file that only this process may read. So
// such files are opened here alone, and a link is followed only where it stays in the directory.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "lib/base/file.h"

namespace ftd {

// A regular file that is open for reading.
struct OpenedFile {
  Fd fd;
  std::filesystem::path path;  // where it is, without links
};

// Opens a file without waiting and without touching what is not a regular one: a pipe or a device
// is INVALID_ARGUMENT. Otherwise as OpenFile.
absl::StatusOr<OpenedFile> OpenRegularFile(const std::filesystem::path& path);

// Returns whether `path` is `root` or below it, by whole parts: /data2 is not under /data. Requires
// both without links and dots.
bool LiesUnder(const std::filesystem::path& path, const std::filesystem::path& root);

// Returns where a path leads, whether or not something is there.
std::filesystem::path WithoutLinks(const std::filesystem::path& path);

// Opens the file `name` of `dir`. Its links may lead to another file of `dir`, or, if `dir` is a
// snapshot of a hub's cache, to a blob of the same repository. `dir` itself must not be reached by
// a link: it was resolved when it was judged, and what is linked in its place since is another's.
// FAILED_PRECONDITION MODEL_CORRUPT: it leads elsewhere, or to a pipe or a device. NOT_FOUND: the
// file is not there.
absl::StatusOr<OpenedFile> OpenContained(const std::filesystem::path& dir,
                                         const std::filesystem::path& name);

// Reads a file that OpenContained opens.
absl::StatusOr<std::string> ReadContained(const std::filesystem::path& dir,
                                          const std::filesystem::path& name);

}  // namespace ftd
