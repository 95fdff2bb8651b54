#include "lib/spec/job_fields.h"

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "ftd/v1/job.pb.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/lib/spec/resolve.h"
#include "tests/support/expect_status.h"

namespace ftd {
namespace {

using nlohmann::json;

void AddPaths(const google::protobuf::Descriptor* type, const std::string& prefix,
              std::set<std::string>* paths) {
  for (int i = 0; i < type->field_count(); ++i) {
    const auto* field = type->field(i);
    const bool parts = field->message_type() != nullptr && !field->is_repeated();
    if (parts) {
      AddPaths(field->message_type(), absl::StrCat(prefix, field->name(), "."), paths);
    } else {
      paths->insert(prefix + field->name());
    }
  }
}

// What a command line, a check or a document knows of a field it knows from its row.
TEST(JobFields, EveryFieldOfTheProtoHasARow) {
  std::set<std::string> in_proto, in_table, flags;
  AddPaths(v1::JobSpec::descriptor(), "", &in_proto);
  for (const JobField& field : JobFields()) {
    EXPECT_TRUE(in_table.insert(field.path).second) << field.path;
    if (field.flag == nullptr) continue;
    EXPECT_TRUE(flags.insert(field.flag).second) << field.flag;
    EXPECT_STRNE(field.help, "") << field.path;
    EXPECT_STRNE(field.group, "") << field.path;
  }
  EXPECT_EQ(in_table, in_proto);
}

json Least(Mode mode) {
  return {{"mode", EnumWord(ModeName(mode))},
          {"model", "m"},
          {"dataset", {{"upload_sha256", std::string(64, 'a')}}}};
}

json At(const JobField& field, const json& value, json spec) {
  json* at = &spec;
  for (absl::string_view part : absl::StrSplit(field.path, '.')) at = &(*at)[std::string(part)];
  *at = value;
  return spec;
}

TEST(JobFields, ADefaultIsThatOfTheTable) {
  for (const Mode mode : {Mode::kLora, Mode::kFull, Mode::kQlora}) {
    const auto spec = Resolve(Least(mode));
    ASSERT_OK(spec);
    TrainSpec defaults;
    defaults.mode = mode;
    for (const JobField& field : JobFields()) {
      const bool bound = !std::holds_alternative<std::monostate>(field.binding);
      if (!bound || field.required || field.path == std::string_view("lora.target_modules"))
        continue;
      const bool other = mode == Mode::kFull && field.for_full;
      EXPECT_EQ(ValueJson(field, *spec),
                other ? nlohmann::ordered_json(*field.for_full) : ValueJson(field, defaults))
          << field.path;
    }
  }
}

// Numbers at the ends of each range are taken and come back; those beyond are refused by name.
TEST(JobFields, RangesAreThoseOfTheTable) {
  int checked = 0;
  for (const JobField& field : JobFields()) {
    const FlagKind kind = KindOfFlag(field);
    if (std::holds_alternative<std::monostate>(field.binding) ||
        (kind != FlagKind::kInteger && kind != FlagKind::kReal))
      continue;
    SCOPED_TRACE(field.path);
    json spec = Least(Mode::kLora);
    spec["eval_split"] = 0.5;  // what others ask for
    spec["sample_prompts"] = json::array({"Once"});
    if (field.path == std::string_view("min_lr_rate"))
      spec["lr_scheduler_type"] = "COSINE_WITH_MIN_LR";
    const Range& range = field.range;
    const auto refused = [&](const json& value) {
      const auto resolved = Resolve(At(field, value, spec));
      EXPECT_ERROR(resolved, absl::StatusCode::kInvalidArgument, "FIELD_INVALID", field.path);
    };
    if (kind == FlagKind::kInteger) {
      for (const int64_t taken : {std::max<int64_t>(range.low, 0), range.high}) {
        const auto resolved = Resolve(At(field, taken, spec));
        ASSERT_OK(resolved);
        EXPECT_EQ(ValueJson(field, *resolved), taken);
      }
      refused(range.high + 1);
      refused(range.low - 1);
      refused("many");
    } else {
      const double lowest = range.above ? range.least + 1e-9 : range.least;
      const auto resolved = Resolve(At(field, lowest, spec));
      ASSERT_OK(resolved);
      EXPECT_EQ(ValueJson(field, *resolved), lowest);
      refused(range.above ? range.least : range.least - 1e-9);
      if (std::isfinite(range.most)) refused(range.below ? range.most : range.most * 2);
      refused("much");
    }
    ++checked;
  }
  EXPECT_GT(checked, 18);
}

TEST(JobFields, ASpecComesBackFromItsJson) {
  json spec = Least(Mode::kLora);
  for (const JobField& field : JobFields()) {
    if (std::holds_alternative<JobField::Ref<bool>>(field.binding))
      spec = At(field, !ValueJson(field, TrainSpec()).get<bool>(), spec);
    if (std::holds_alternative<JobField::Ref<std::string>>(field.binding))
      spec = At(field, "some-text", spec);
    const auto& words = field.words.words;
    if (!words.empty() && field.path != std::string_view("precision") &&
        field.path != std::string_view("lr_scheduler_type"))
      spec = At(field, EnumWord(words.back()), spec);
  }
  spec["auto_batch_size"] = false;  // does not go with packing
  spec["eval_split"] = 0.25;
  spec["gradient_checkpointing"] = true;
  spec["lora"]["target_modules"] = {"v_proj"};
  const auto first = Resolve(spec);
  ASSERT_OK(first);
  EXPECT_EQ(first->mode, Mode::kQlora);
  EXPECT_FALSE(first->shuffle);
  EXPECT_TRUE(first->lora.use_rslora);
  EXPECT_EQ(first->gradient_checkpointing, Checkpointing::kOn);
  EXPECT_THAT(first->lora.target_modules, testing::ElementsAre("v_proj"));
  const std::string text = TrainSpecToJson(*first);
  const auto second = ResolveTrainSpec(text, Dtype::kBfloat16);
  ASSERT_OK(second);
  EXPECT_EQ(TrainSpecToJson(*second), text);
}

TEST(GivenFields, KeepWhatTheFlagsSaid) {
  GivenFields given;
  const auto give = [&](std::string_view path, const std::string& text) {
    for (const JobField& field : JobFields()) {
      if (field.path == path) given.SetText(field, text);
    }
  };
  EXPECT_TRUE(given.empty());
  give("mode", "qlora");
  give("dataset.shape", "prompt-completion");
  give("dataset.columns", "prompt=q,completion=a");
  give("dataset.template", "a\\nb");
  give("lora.target_modules", "q_proj, v_proj");
  give("gradient_checkpointing", "off");
  const json expected = {{"mode", "QLORA"},
                         {"dataset",
                          {{"shape", "PROMPT_COMPLETION"},
                           {"columns", {{"prompt", "q"}, {"completion", "a"}}},
                           {"template", "a\nb"}}},
                         {"lora", {{"target_modules", {"q_proj", "v_proj"}}}},
                         {"gradient_checkpointing", false}};
  EXPECT_EQ(given.json(), expected);
  EXPECT_EQ(json::parse(*given.Text()), expected);
  give("dataset.columns", "nonsense");
  EXPECT_ERROR(given.Text(), absl::StatusCode::kInvalidArgument, "USAGE", "FIELD=COLUMN");
  GivenFields bytes;
  bytes.SetText(JobFields()[1], "\xff");
  EXPECT_ERROR(bytes.Text(), absl::StatusCode::kInvalidArgument, "USAGE", "UTF-8");
}

TEST(GivenFields, AutoIsAnotherField) {
  const JobField& batch_size = *FindField("batch_size");
  for (const char* text : {"auto", "AUTO"}) {
    GivenFields given;
    given.SetText(batch_size, text);
    EXPECT_EQ(given.json(), json({{"auto_batch_size", true}})) << text;
  }
  GivenFields number;
  number.SetText(batch_size, "16");
  EXPECT_EQ(number.json(), json({{"batch_size", "16"}}));
  EXPECT_FALSE(MeansAuto(*FindField("seed"), "auto"));
}

TEST(JobFields, HelpSaysTheDefault) {
  std::set<std::string> helps;
  for (const JobField& field : JobFields()) helps.insert(FlagHelp(field));
  for (const char* expected : {"Rank [8]", "Peak learning rate [1e-4; full 5e-5]",
                               "Scale by alpha / sqrt(rank): for high ranks [off]",
                               "How the rate moves over the steps [linear]",
                               "Branch, tag or commit of a hub model [main]"}) {
    EXPECT_EQ(helps.count(expected), 1u) << expected;
  }
}

}  // namespace
}  // namespace ftd
