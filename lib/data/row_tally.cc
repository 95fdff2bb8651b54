#include "lib/data/row_tally.h"

#include <algorithm>
#include <limits>

#include "absl/hash/hash.h"
#include "lib/base/ceil_div.h"

namespace ftd {
namespace {

constexpr int64_t kMostBins = 12;  // equally wide ones
constexpr size_t kMostParts = 40;  // of a sample
// Tokens that are shown at each end of a part with more than twice as many.
constexpr size_t kPartEnd = 150;

// The least of 1, 2, 5, 10, 20, … that is not below `size`.
int64_t RoundWidth(int64_t size) {
  for (int64_t unit = 1;; unit *= 10) {
    for (const int64_t digit : {1, 2, 5})
      if (unit * digit >= size) return unit * digit;
  }
}

// The least length that `percent` % of the rows do not exceed.
int64_t Percentile(const std::map<int64_t, int64_t>& rows_by_length, int64_t rows,
                   int64_t percent) {
  int64_t seen = 0;
  for (const auto& [length, count] : rows_by_length) {
    seen += count;
    if (seen >= CeilDiv(rows * percent, 100)) return length;
  }
  return 0;
}

bool IsLearned(const TokenizedRow& row, size_t token) { return row.labels[token] != kIgnoreLabel; }

// Text of the tokens [begin, end). Decoded after the token before them, because some decoders treat
// a text's first token in a way of its own.
std::string TextOf(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, size_t begin,
                   size_t end) {
  const auto decode = [&](size_t from, size_t to) {
    return tokenizer.Decode(
        {ids.begin() + static_cast<ptrdiff_t>(from), ids.begin() + static_cast<ptrdiff_t>(to)});
  };
  if (begin == 0) return decode(0, end);
  const std::string before = decode(begin - 1, begin);
  const std::string whole = decode(begin - 1, end);
  // Where a character is split between the tokens they differ from its first byte on.
  const auto differs =
      std::mismatch(before.begin(), before.end(), whole.begin(), whole.end()).second;
  return {differs, whole.end()};
}

}  // namespace

void RowTally::Add(const Example& example, const EncodedRow& row, bool kept) {
  const auto tokens = static_cast<int64_t>(row.input_ids.size());
  const int64_t length = tokens + row.cut_tokens;
  counts_.Add({.kept = kept ? 1 : 0,
               .dropped = kept ? 0 : 1,
               .dropped_by_cut = !kept && row.cut_tokens > 0 ? 1 : 0,
               .cut = row.cut_tokens > 0 ? 1 : 0,
               .lost_completion = row.lost_completion ? 1 : 0,
               .empty = IsBlank(example) ? 1 : 0,
               .longest = length,
               .conversations = example.chat.has_value() ? 1 : 0,
               .tokens = kept ? tokens : 0,
               .labels = kept ? CountLabels(row) : 0,
               .cut_tokens = kept ? row.cut_tokens : 0,
               .unstopped = row.unstopped.has_value() ? 1 : 0,
               .unstopped_token = row.unstopped.value_or(-1)});
  if (!kept) return;
  ++rows_by_length_[length];
  hashes_.push_back(absl::HashOf(row.input_ids, row.labels));
  if (samples_missing() > 0) samples_.push_back({rows(), row});
}

void RowTally::Merge(const RowTally& later) {
  const int64_t before = rows();
  counts_.Add(later.counts_);
  for (const auto& [length, rows] : later.rows_by_length_) rows_by_length_[length] += rows;
  hashes_.insert(hashes_.end(), later.hashes_.begin(), later.hashes_.end());
  for (const Sample& sample : later.samples_)
    if (samples_missing() > 0) samples_.push_back({before + sample.row, sample.tokens});
}

RowReport RowTally::Report(const RowEncoder& encoder) {
  RowReport report{.counts = counts_};
  // In place: their order says nothing, and a copy would take as much memory again.
  std::sort(hashes_.begin(), hashes_.end());
  for (size_t i = 1; i < hashes_.size(); ++i)
    report.duplicates += hashes_[i] == hashes_[i - 1] ? 1 : 0;
  report.lengths = LengthsOf(rows_by_length_, encoder.seq_length);
  for (const Sample& sample : samples_) {
    RowSample& shown = report.samples.emplace_back();
    shown.row = sample.row;
    shown.tokens = static_cast<int64_t>(sample.tokens.input_ids.size());
    shown.labels = CountLabels(sample.tokens);
    shown.parts = PartsOf(sample.tokens, *encoder.tokenizer, &shown.shortened);
  }
  return report;
}

RowLengths LengthsOf(const std::map<int64_t, int64_t>& rows_by_length, int32_t seq_length) {
  RowLengths lengths;
  if (rows_by_length.empty()) return lengths;
  int64_t rows = 0;
  for (const auto& [length, count] : rows_by_length) rows += count;
  lengths.median = Percentile(rows_by_length, rows, 50);
  lengths.p90 = Percentile(rows_by_length, rows, 90);
  lengths.p99 = Percentile(rows_by_length, rows, 99);
  const int64_t limit = seq_length > 0 ? seq_length : std::numeric_limits<int64_t>::max();
  const int64_t shortest = rows_by_length.begin()->first, longest = rows_by_length.rbegin()->first;
  const int64_t end = std::min(lengths.p99, limit);
  std::vector<LengthBin>& bins = lengths.bins;
  if (shortest <= end) {
    const int64_t width = RoundWidth(CeilDiv(end - shortest + 1, kMostBins));
    for (int64_t from = shortest / width * width; from <= end; from += width)
      bins.push_back({from, std::min(from + width - 1, limit)});
  }
  const auto extend = [&](int64_t to) {
    const int64_t from = bins.empty() ? shortest : bins.back().to + 1;
    if (from <= to) bins.push_back({.from = from, .to = to, .cut = from > limit});
  };
  extend(std::min(limit, longest));
  extend(longest);
  auto bin = bins.begin();
  for (const auto& [length, count] : rows_by_length) {
    while (length > bin->to) ++bin;
    bin->rows += count;
  }
  return lengths;
}

std::vector<RowSample::Part> PartsOf(const TokenizedRow& row, const Tokenizer& tokenizer,
                                     bool* shortened) {
  std::vector<RowSample::Part> parts;
  const size_t tokens = row.input_ids.size();
  *shortened = false;
  for (size_t begin = 0, end = 0; begin < tokens; begin = end) {
    const bool learned = IsLearned(row, begin);
    while (end < tokens && IsLearned(row, end) == learned) ++end;
    if (parts.size() == kMostParts) {
      *shortened = true;
      break;
    }
    const bool is_long = end - begin > 2 * kPartEnd;
    std::string text = TextOf(tokenizer, row.input_ids, begin, is_long ? begin + kPartEnd : end);
    if (is_long) text += " … " + TextOf(tokenizer, row.input_ids, end - kPartEnd, end);
    *shortened = *shortened || is_long;
    parts.push_back({std::move(text), learned});
  }
  return parts;
}

}  // namespace ftd
