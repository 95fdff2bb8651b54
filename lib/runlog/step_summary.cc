#include "lib/runlog/step_summary.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace ftd {
namespace {

double Height(double loss) {
  return std::isnan(loss) ? std::numeric_limits<double>::infinity() : loss;
}

// Extremes of `losses`, of which the first is row `first`'s.
StepExtremes ExtremesOf(const double* losses, int64_t count, int64_t first) {
  StepExtremes all;
  for (int64_t i = 0; i < count; ++i) {
    const double height = Height(losses[i]);
    all.Add({height, height, first + i, first + i});
  }
  return all;
}

}  // namespace

void StepExtremes::Add(const StepExtremes& later) {
  if (later.least_row < 0) return;
  if (least_row < 0 || later.least < least) {
    least = later.least;
    least_row = later.least_row;
  }
  if (greatest_row < 0 || later.greatest >= greatest) {
    greatest = later.greatest;
    greatest_row = later.greatest_row;
  }
}

absl::StatusOr<StepSummary> StepSummary::Open(const std::filesystem::path& path, Cache cache) {
  FTD_ASSIGN_OR_RETURN(StepLogReader log, StepLogReader::Open(path));
  StepSummary summary(path.string() + ".summary", std::move(log));
  if (cache == Cache::kUsed) FTD_RETURN_IF_ERROR(summary.Load());
  const size_t pages = summary.entries_.size() / kEntriesOfPage;
  FTD_RETURN_IF_ERROR(summary.ReadRest());
  summary.Keep(pages);
  return summary;
}

uint32_t StepSummary::CrcOf(const Page& page, size_t number) const {
  const uint64_t whose[] = {log_.identity(), number};
  const auto bytes = [](const auto& of) {
    return std::string_view(reinterpret_cast<const char*>(&of), sizeof of);
  };
  return step_layout::Crc(bytes(page.entries)) ^ step_layout::Crc(bytes(whose));
}

// A page for rows that the log does not have is another log's.
absl::Status StepSummary::Load() {
  const auto bytes = ReadFile(path_);
  if (!bytes.ok()) return absl::OkStatus();
  FTD_ASSIGN_OR_RETURN(const int64_t rows, log_.RowsBySize());
  const size_t most =
      std::min(bytes->size() / sizeof(Page), static_cast<size_t>(rows / kRowsOfPage));
  entries_.reserve(most * kEntriesOfPage);
  Page page;
  for (size_t i = 0; i < most; ++i) {
    std::memcpy(&page, bytes->data() + i * sizeof page, sizeof page);
    if (page.crc != CrcOf(page, i)) break;
    entries_.insert(entries_.end(), std::begin(page.entries), std::end(page.entries));
  }
  return absl::OkStatus();
}

// The losses are held for a piece at a time, however long the log is.
absl::Status StepSummary::ReadRest() {
  while (true) {
    const size_t before = rest_.size();
    FTD_RETURN_IF_ERROR(log_.Losses(rows(), kRowsOfPage, StepLogReader::Check::kCrc, &rest_));
    if (rest_.size() == before) return absl::OkStatus();
    const size_t whole = rest_.size() / kRows;
    for (size_t i = 0; i < whole; ++i) {
      const StepExtremes all = ExtremesOf(rest_.data() + i * kRows, kRows, 0);
      entries_.push_back({all.least, all.greatest, static_cast<uint32_t>(all.least_row),
                          static_cast<uint32_t>(all.greatest_row)});
    }
    rest_.erase(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(whole * kRows));
  }
}

// Each page has its place, so whoever else writes does no harm. Without the file the next one reads
// the log.
void StepSummary::Keep(size_t pages) const {
  if (pages == entries_.size() / kEntriesOfPage) return;
  const auto fd = OpenFile(path_, O_WRONLY | O_CREAT);
  for (size_t i = pages; fd.ok() && i < entries_.size() / kEntriesOfPage; ++i) {
    Page page = {};
    std::copy_n(entries_.begin() + static_cast<std::ptrdiff_t>(i * kEntriesOfPage), kEntriesOfPage,
                page.entries);
    page.crc = CrcOf(page, i);
    const ssize_t written =
        ::pwrite(fd->get(), &page, sizeof page, static_cast<off_t>(i * sizeof page));
    if (written < static_cast<ssize_t>(sizeof page)) return;
  }
}

absl::Status StepSummary::LoadBlock(int64_t block) {
  if (block_ == block) return absl::OkStatus();
  block_ = -1;
  block_losses_.clear();
  FTD_RETURN_IF_ERROR(
      log_.Losses(block * kRows, kRows, StepLogReader::Check::kNone, &block_losses_));
  if (block_losses_.size() < static_cast<size_t>(kRows))
    return absl::AbortedError(absl::StrCat(path_.string(), " has rows that the log lacks"));
  block_ = block;
  return absl::OkStatus();
}

// A row that was not checked itself, but only when it was summarised, is checked in the log.
absl::Status StepSummary::Confirm(int64_t row, double loss) const {
  std::vector<double> there;
  FTD_RETURN_IF_ERROR(log_.Losses(row, 1, StepLogReader::Check::kCrc, &there));
  if (!there.empty() && Height(there.front()) == loss) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat(path_.string(), " does not agree with its log"));
}

absl::StatusOr<StepExtremes> StepSummary::Over(int64_t begin, int64_t end) {
  StepExtremes all;
  const int64_t known = static_cast<int64_t>(entries_.size()) * kRows;
  for (int64_t row = begin, next; row < end; row = next) {
    const int64_t block = row / kRows, first = block * kRows;
    next = std::min(end, first + kRows);
    if (row >= known) {  // the last rows, which are held
      next = end;
      all.Add(ExtremesOf(rest_.data() + (row - known), end - row, row));
    } else if (next - row == kRows) {
      const Entry& entry = entries_[static_cast<size_t>(block)];
      all.Add({entry.least, entry.greatest, first + entry.least_row, first + entry.greatest_row});
    } else {
      FTD_RETURN_IF_ERROR(LoadBlock(block));
      all.Add(ExtremesOf(block_losses_.data() + (row - first), next - row, row));
    }
  }
  if (all.least_row < known) FTD_RETURN_IF_ERROR(Confirm(all.least_row, all.least));
  if (all.greatest_row < known) FTD_RETURN_IF_ERROR(Confirm(all.greatest_row, all.greatest));
  return all;
}

}  // namespace ftd
