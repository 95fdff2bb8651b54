// Whole training runs on a GPU against the same runs on the CPU, in every mode and dtype: what
// fake_gpu_test.cc shows without a GPU, shown on one.
//
// A process computes on one device, chosen once (worker/engine/device/device.h), so the CPU's side
// is a second process, this program with --report=DIR and no GPU in sight. It trains every case on
// the device that it has and leaves the results and report.json in DIR. Without a GPU every test is
// skipped; --report then still runs the CPU's side.

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "lib/base/file.h"
#include "lib/base/sha256.h"
#include "nlohmann/json.hpp"
#include "tests/support/temp_dir.h"
#include "tests/worker/engine/tiny_model.h"
#include "tests/worker/engine/whole_run.h"
#include "worker/engine/tensors/tensor_io.h"
#include "worker/engine/train.h"

namespace ftd::engine {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr char kReportFlag[] = "--report=";

struct Case {
  std::string name;
  TrainSpec spec;
};

// For GoogleTest's messages.
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

Case MakeCase(Mode mode, Dtype dtype, const std::string& variant) {
  TrainSpec spec = ftd::testing::RunSpec(mode, dtype);
  if (variant == "no_dropout") spec.lora.dropout = 0;
  if (variant == "checkpointing") spec.gradient_checkpointing = Checkpointing::kOn;
  if (variant == "hf_parity") spec.precision = Precision::kHfParity;
  return {std::string(ModeName(mode)) + "_" + std::string(DtypeName(dtype)) + "_" + variant, spec};
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const Mode mode : {Mode::kLora, Mode::kFull, Mode::kQlora}) {
    for (const Dtype dtype : {Dtype::kFloat32, Dtype::kBfloat16, Dtype::kFloat16}) {
      cases.push_back(MakeCase(mode, dtype, "plain"));
      cases.push_back(MakeCase(mode, dtype, "checkpointing"));
      if (mode != Mode::kFull) cases.push_back(MakeCase(mode, dtype, "no_dropout"));
    }
  }
  // Not in float16: there Adam's ε is 0 and training diverges on any device.
  cases.push_back(MakeCase(Mode::kFull, Dtype::kBfloat16, "hf_parity"));
  return cases;
}

// What a case came to on one device.
struct Outcome {
  std::vector<double> numbers;  // whole_run.h's
  fs::path result;              // the weights' file
  std::string sha256;           // of that file
  std::string resumed_sha256;   // of the result of a run that was broken off and resumed
};

// Trains the case on this process's device, once in one go and once broken off after two steps.
Outcome Train(const Case& c, const fs::path& model, const fs::path& dir) {
  Outcome outcome;
  Trainer unbroken = ftd::testing::TrainerOf(c.spec, model);
  outcome.numbers = ftd::testing::FinishRun(unbroken);
  outcome.result = ftd::testing::ExportRun(unbroken, c.spec.mode, dir / c.name);
  outcome.sha256 = Sha256File(outcome.result).value();

  const TempDir state;
  {
    Trainer first = ftd::testing::TrainerOf(c.spec, model);
    for (int i = 0; i < 2; ++i) ftd::testing::TakeStep(first);
    first.SaveState(state.path());
  }
  Trainer second = ftd::testing::TrainerOf(c.spec, model);
  second.LoadState(state.path(), 2);
  ftd::testing::FinishRun(second);
  const fs::path resumed =
      ftd::testing::ExportRun(second, c.spec.mode, dir / (c.name + "_resumed"));
  outcome.resumed_sha256 = Sha256File(resumed).value();
  return outcome;
}

void WriteReport(const fs::path& dir) {
  fs::create_directories(dir);
  ftd::testing::WriteTinyModel(dir / "model", 1);
  Json cases = Json::object();
  for (const Case& c : Cases()) {
    const Outcome outcome = Train(c, dir / "model", dir);
    cases[c.name] = {{"numbers", outcome.numbers},
                     {"result", outcome.result},
                     {"sha256", outcome.sha256},
                     {"resumed_sha256", outcome.resumed_sha256}};
  }
  const Json report = {{"device", DeviceName()}, {"cases", cases}};
  ThrowIfError(WriteFileAtomically(dir / "report.json", report.dump(1)));
}

// Runs this program with --report=DIR and without a GPU. Returns its exit status.
int SpawnCpuReport(const fs::path& dir) {
  const std::string flag = kReportFlag + dir.string();
  constexpr char kHidden[] = "CUDA_VISIBLE_DEVICES=";
  std::vector<std::string> variables = {kHidden};
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!std::string_view(*variable).starts_with(kHidden)) variables.emplace_back(*variable);
  }
  std::vector<char*> environment;
  environment.reserve(variables.size() + 1);
  for (std::string& variable : variables) environment.push_back(variable.data());
  environment.push_back(nullptr);
  std::string self = "/proc/self/exe", argument = flag;
  char* const words[] = {self.data(), argument.data(), nullptr};
  pid_t child = 0;
  if (::posix_spawn(&child, self.c_str(), nullptr, nullptr, words, environment.data()) != 0)
    return -1;
  int status = -1;
  return ::waitpid(child, &status, 0) == child ? status : -1;
}

// The CPU's side, trained once for all tests.
class GpuTrainerTest : public ::testing::TestWithParam<Case> {
 protected:
  static void SetUpTestSuite() {
    if (!UsesGpu()) return;
    dir_ = new TempDir;
    ASSERT_EQ(SpawnCpuReport(*dir_ / "cpu"), 0);
    report_ = new Json(Json::parse(ReadFile(*dir_ / "cpu" / "report.json").value()));
    ASSERT_EQ((*report_)["device"], "cpu");
  }
  static void TearDownTestSuite() {
    delete report_;
    delete dir_;
  }
  void SetUp() override {
    if (!UsesGpu()) GTEST_SKIP() << "no GPU";
    ASSERT_NE(report_, nullptr) << "the CPU's side failed";
  }

  static TempDir* dir_;
  static Json* report_;
};

TempDir* GpuTrainerTest::dir_ = nullptr;
Json* GpuTrainerTest::report_ = nullptr;

TEST_P(GpuTrainerTest, EqualsTheCpuAndResumesToTheBit) {
  const Case& c = GetParam();
  const Outcome gpu = Train(c, *dir_ / "cpu" / "model", *dir_ / "gpu");
  EXPECT_EQ(gpu.resumed_sha256, gpu.sha256) << "a resumed run has other bits";

  const Json& host = (*report_)["cases"][c.name];
  const auto expected = host["numbers"].get<std::vector<double>>();
  ftd::testing::ExpectNearNumbers(gpu.numbers, expected, c.spec.dtype);
  ftd::testing::ExpectNearWeights(gpu.result, host["result"].get<std::string>(), c.spec.dtype);
}

INSTANTIATE_TEST_SUITE_P(Cases, GpuTrainerTest, ::testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace

// Outside the unnamed namespace for main.
int ReportMain(const std::string& dir) {
  try {
    WriteReport(dir);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu_trainer_test: %s\n", error.what());
    return 1;
  }
}

}  // namespace ftd::engine

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  ftd::engine::InitializeProcess();
  const std::string_view argument = argc == 2 ? argv[1] : "";
  const std::string_view flag = ftd::engine::kReportFlag;
  if (argument.substr(0, flag.size()) == flag)
    return ftd::engine::ReportMain(std::string(argument.substr(flag.size())));
  return RUN_ALL_TESTS();
}
