#include "worker/run/data_report.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

void AddCounts(const RowReport& rows, v1::DataReport& report) {
  const RowCounts& counts = rows.counts;
  report.set_rows_read(counts.kept + counts.dropped);
  report.set_rows_kept(counts.kept);
  report.set_rows_dropped(counts.dropped);
  report.set_rows_dropped_by_cut(counts.dropped_by_cut);
  report.set_rows_skipped(rows.skipped_rows);
  for (const std::string& reason : rows.skipped_reasons) report.add_skipped_reasons(reason);
  report.set_rows_cut(counts.cut);
  report.set_tokens_cut(counts.cut_tokens);
  report.set_rows_without_completion(counts.lost_completion);
  report.set_rows_empty(counts.empty);
  report.set_rows_duplicate(rows.duplicates);
  report.set_rows_conversation(counts.conversations);
  report.set_rows_without_stop_token(counts.unstopped);
  report.set_tokens(counts.tokens);
  report.set_tokens_learned(counts.labels);
}

void AddLengths(const RowReport& rows, v1::DataReport& report) {
  report.set_length_median(rows.lengths.median);
  report.set_length_p90(rows.lengths.p90);
  report.set_length_p99(rows.lengths.p99);
  report.set_length_longest(rows.counts.longest);
  for (const LengthBin& bin : rows.lengths.bins) {
    v1::DataReport::LengthBin& added = *report.add_length_histogram();
    added.set_from_tokens(bin.from);
    added.set_to_tokens(bin.to);
    added.set_rows(bin.rows);
    added.set_cut(bin.cut);
  }
}

void AddSamples(const RowReport& rows, v1::DataReport& report) {
  for (const RowSample& sample : rows.samples) {
    v1::DataReport::Sample& added = *report.add_samples();
    added.set_row(sample.row);
    added.set_tokens(sample.tokens);
    added.set_tokens_learned(sample.labels);
    added.set_shortened(sample.shortened);
    for (const RowSample::Part& part : sample.parts) {
      v1::DataReport::Sample::Part& text = *added.add_parts();
      text.set_text(part.text);
      text.set_learned(part.learned);
    }
  }
}

}  // namespace

absl::StatusOr<v1::DataReport> MakeDataReport(const RowReport& rows, const RowSource* eval) {
  v1::DataReport report;
  AddCounts(rows, report);
  AddLengths(rows, report);
  AddSamples(rows, report);
  int64_t eval_tokens = 0;
  for (int64_t i = 0; eval != nullptr && i < eval->size(); ++i) {
    FTD_ASSIGN_OR_RETURN(const RowLength length, eval->Length(i));
    eval_tokens += length.tokens;
  }
  report.set_rows_eval(eval == nullptr ? 0 : eval->size());
  report.set_tokens_per_epoch(rows.counts.tokens - eval_tokens);
  return report;
}

std::string DataLine(const v1::DataReport& report) {
  std::string line = absl::StrFormat(
      "%d rows, %d tokens, %.1f %% of them learned", report.rows_kept(), report.tokens(),
      100 * static_cast<double>(report.tokens_learned()) / static_cast<double>(report.tokens()));
  if (report.rows_duplicate() > 0)
    absl::StrAppend(&line, "; ", report.rows_duplicate(), " rows are duplicates");
  return line;
}

}  // namespace ftd
