#include "lib/data/row_report.h"

namespace ftd {
namespace {

using nlohmann::json;

json ToJson(const RowSample& sample) {
  json parts = json::array();
  for (const RowSample::Part& part : sample.parts) parts.push_back({part.text, part.learned});
  return {{"row", sample.row},
          {"tokens", sample.tokens},
          {"labels", sample.labels},
          {"parts", parts},
          {"shortened", sample.shortened}};
}

RowSample SampleFrom(const json& json) {
  RowSample sample{.row = json.at("row").get<int64_t>(),
                   .tokens = json.at("tokens").get<int64_t>(),
                   .labels = json.at("labels").get<int64_t>(),
                   .shortened = json.at("shortened").get<bool>()};
  for (const auto& part : json.at("parts"))
    sample.parts.push_back({part.at(0).get<std::string>(), part.at(1).get<bool>()});
  return sample;
}

}  // namespace

json RowReportToJson(const RowReport& report) {
  json counts = {{"unstopped_token", report.counts.unstopped_token}};
  for (const auto& [name, member] : kRowCounts) counts[name] = report.counts.*member;
  json bins = json::array(), samples = json::array();
  for (const LengthBin& bin : report.lengths.bins)
    bins.push_back({bin.from, bin.to, bin.rows, bin.cut});
  for (const RowSample& sample : report.samples) samples.push_back(ToJson(sample));
  return {{"counts", counts},
          {"skipped_rows", report.skipped_rows},
          {"skipped_reasons", report.skipped_reasons},
          {"duplicates", report.duplicates},
          {"percentiles", {report.lengths.median, report.lengths.p90, report.lengths.p99}},
          {"bins", bins},
          {"samples", samples}};
}

RowReport RowReportFromJson(const json& json) {
  RowReport report;
  const auto& counts = json.at("counts");
  for (const auto& [name, member] : kRowCounts)
    report.counts.*member = counts.at(name).get<int64_t>();
  report.counts.unstopped_token = counts.at("unstopped_token").get<int64_t>();
  report.skipped_rows = json.at("skipped_rows").get<int64_t>();
  report.skipped_reasons = json.at("skipped_reasons").get<std::vector<std::string>>();
  report.duplicates = json.at("duplicates").get<int64_t>();
  const auto& percentiles = json.at("percentiles");
  report.lengths.median = percentiles.at(0).get<int64_t>();
  report.lengths.p90 = percentiles.at(1).get<int64_t>();
  report.lengths.p99 = percentiles.at(2).get<int64_t>();
  for (const auto& bin : json.at("bins")) {
    report.lengths.bins.push_back({bin.at(0).get<int64_t>(), bin.at(1).get<int64_t>(),
                                   bin.at(2).get<int64_t>(), bin.at(3).get<bool>()});
  }
  for (const auto& sample : json.at("samples")) report.samples.push_back(SampleFrom(sample));
  return report;
}

}  // namespace ftd
