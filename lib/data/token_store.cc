#include "lib/data/token_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "lib/base/concat.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

static_assert(std::endian::native == std::endian::little, "the files are little-endian");

constexpr char kIdsFile[] = "ids.bin", kIndexFile[] = "index.bin";

static_assert(sizeof(TokenIndexEntry) == 16);

template <typename T>
void AppendBytes(const std::vector<T>& values, std::string* out) {
  out->append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

// Returns the positions where learning is switched: tokens [s0, s1) are learned, [s1, s2) not, and
// so on to the end. Most rows need one, against a label per token.
std::vector<uint32_t> Switches(const TokenizedRow& row) {
  std::vector<uint32_t> switches;
  bool learned = false;
  for (size_t i = 0; i < row.labels.size(); ++i) {
    if ((row.labels[i] != kIgnoreLabel) == learned) continue;
    learned = !learned;
    switches.push_back(static_cast<uint32_t>(i));
  }
  return switches;
}

absl::Status Damaged(const std::filesystem::path& dir) {
  return absl::DataLossError(Concat("the tokenised rows in ", dir.string(),
                                    " are damaged; start the job again to make them again"));
}

// Reads exactly `size` bytes. pread has no shared position, so any number of threads may read at
// once.
absl::Status ReadAt(const Fd& fd, uint64_t offset, void* buffer, size_t size,
                    const std::filesystem::path& dir) {
  auto* out = static_cast<char*>(buffer);
  while (size > 0) {
    const ssize_t n = ::pread(fd.get(), out, size, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoError(errno, Concat("read ", dir.string()));
    if (n == 0) return Damaged(dir);
    out += n;
    size -= static_cast<size_t>(n);
    offset += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

}  // namespace

// Offsets are relative to the block until it is appended.
bool TokenBlock::Add(const TokenizedRow& row) {
  const int64_t labels = CountLabels(row);
  if (labels == 0) return false;
  entries_.push_back(
      {ids_.size(), static_cast<uint32_t>(row.input_ids.size()), static_cast<uint32_t>(labels)});
  AppendBytes(row.input_ids, &ids_);
  AppendBytes(Switches(row), &ids_);
  return true;
}

absl::StatusOr<TokenStoreWriter> TokenStoreWriter::Create(const std::filesystem::path& dir) {
  FTD_ASSIGN_OR_RETURN(Fd ids, OpenFile(dir / kIdsFile, O_WRONLY | O_CREAT | O_TRUNC));
  FTD_ASSIGN_OR_RETURN(Fd index, OpenFile(dir / kIndexFile, O_WRONLY | O_CREAT | O_TRUNC));
  return TokenStoreWriter(dir, std::move(ids), std::move(index));
}

// The bytes first, then the entries that refer to them. A crash leaves no store: it is sealed
// later.
absl::Status TokenStoreWriter::Append(const TokenBlock& block) {
  std::vector<TokenIndexEntry> entries = block.entries_;
  for (TokenIndexEntry& entry : entries) entry.offset += bytes_;
  std::string index;
  AppendBytes(entries, &index);
  FTD_RETURN_IF_ERROR(WriteAll(ids_.get(), block.ids_, dir_ / kIdsFile));
  FTD_RETURN_IF_ERROR(WriteAll(index_.get(), index, dir_ / kIndexFile));
  bytes_ += block.ids_.size();
  rows_ += static_cast<int64_t>(entries.size());
  return absl::OkStatus();
}

// The entry after the last row: a row's bytes are the difference of two offsets.
absl::Status TokenStoreWriter::Finish() {
  std::string last;
  AppendBytes(std::vector<TokenIndexEntry>{{bytes_, 0, 0}}, &last);
  return WriteAll(index_.get(), last, dir_ / kIndexFile);
}

absl::StatusOr<std::unique_ptr<TokenStore>> TokenStore::Open(const std::filesystem::path& dir) {
  FTD_ASSIGN_OR_RETURN(Fd ids, OpenFile(dir / kIdsFile, O_RDONLY));
  FTD_ASSIGN_OR_RETURN(Fd index, OpenFile(dir / kIndexFile, O_RDONLY));
  struct stat info;
  if (::fstat(index.get(), &info) != 0) return ErrnoError(errno, Concat("stat ", dir.string()));
  const int64_t entries = info.st_size / static_cast<int64_t>(sizeof(TokenIndexEntry));
  if (entries < 1 || info.st_size % static_cast<int64_t>(sizeof(TokenIndexEntry)) != 0)
    return Damaged(dir);
  // Rows are read in random order: reading ahead would only fill the page cache.
  ::posix_fadvise(ids.get(), 0, 0, POSIX_FADV_RANDOM);
  return std::unique_ptr<TokenStore>(
      new TokenStore(dir, std::move(ids), std::move(index), entries - 1));
}

// One read of 16 bytes: batches are planned by lengths, without any tokens.
absl::StatusOr<RowLength> TokenStore::Length(int64_t row) const {
  TokenIndexEntry entry;
  FTD_RETURN_IF_ERROR(
      ReadAt(index_, static_cast<uint64_t>(row) * sizeof entry, &entry, sizeof entry, dir_));
  return RowLength{entry.tokens, entry.labels};
}

absl::StatusOr<TokenizedRow> TokenStore::Read(int64_t row) const {
  TokenIndexEntry entries[2];
  FTD_RETURN_IF_ERROR(ReadAt(index_, static_cast<uint64_t>(row) * sizeof entries[0], entries,
                             sizeof entries, dir_));
  // Checked before anything is allocated by these numbers. Store and manifest were verified when
  // the run began; a disk may fail later.
  const uint64_t tokens = entries[0].tokens, bytes = entries[1].offset - entries[0].offset;
  const uint64_t most = 2 * tokens * sizeof(int32_t);  // learning switched at every token
  if (entries[1].offset < entries[0].offset || bytes < tokens * sizeof(int32_t) || bytes > most)
    return Damaged(dir_);
  TokenizedRow result;
  result.input_ids.resize(tokens);
  std::vector<uint32_t> switches(bytes / sizeof(uint32_t) - tokens);
  FTD_RETURN_IF_ERROR(
      ReadAt(ids_, entries[0].offset, result.input_ids.data(), tokens * sizeof(int32_t), dir_));
  FTD_RETURN_IF_ERROR(ReadAt(ids_, entries[0].offset + tokens * sizeof(int32_t), switches.data(),
                             switches.size() * sizeof(uint32_t), dir_));
  result.labels.assign(tokens, kIgnoreLabel);
  // Pairs of on and off; the last stretch may reach to the row's end.
  for (size_t i = 0; i < switches.size(); i += 2) {
    const uint64_t end = i + 1 < switches.size() ? switches[i + 1] : tokens;
    if (switches[i] > end || end > tokens) return Damaged(dir_);
    std::copy(result.input_ids.begin() + switches[i],
              result.input_ids.begin() + static_cast<int64_t>(end),
              result.labels.begin() + switches[i]);
  }
  return result;
}

}  // namespace ftd
