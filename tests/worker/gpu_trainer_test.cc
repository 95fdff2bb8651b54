// Whole training runs on a GPU against the same runs on the CPU, in every mode and dtype: what
// fake_gpu_test.cc shows without a GPU, shown on one.
//
// A process computes on one device, chosen once (worker/engine/device.h), so the CPU's side is a
// second process, this program with --report=DIR and no GPU in sight. It trains every case on the
// device that it has and leaves the results and report.json in DIR. Without a GPU every test is
// skipped; --report then still runs the CPU's side.

#include <ATen/ATen.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "artifacts/file.h"
#include "artifacts/safetensors.h"
#include "artifacts/sha256.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/support/temp_dir.h"
#include "tests/worker/tiny_model.h"
#include "worker/engine/tensor_io.h"
#include "worker/engine/train.h"

namespace ftd::engine {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int kSteps = 4;
constexpr char kReportFlag[] = "--report=";
const std::atomic<bool> kNeverStop{false};

struct Case {
  std::string name;
  TrainSpec spec;
};

// For GoogleTest's messages.
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

Case MakeCase(Mode mode, Dtype dtype, const std::string& variant) {
  TrainSpec spec = ftd::testing::TinySpec(mode, kSteps);
  spec.dtype = dtype;
  spec.gradient_accumulation_steps = 2;
  if (mode != Mode::kFull) spec.lora.dropout = 0.2;
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
    }
  }
  // Not in float16: there Adam's ε is 0 and training diverges on any device.
  cases.push_back(MakeCase(Mode::kFull, Dtype::kBfloat16, "hf_parity"));
  return cases;
}

// What a case came to on one device.
struct Outcome {
  std::vector<double> numbers;  // loss, gradient norm, entropy of each step; then the evaluation's
  fs::path result;              // the weights' file
  std::string sha256;           // of that file
  std::string resumed_sha256;   // of the result of a run that was broken off and resumed
};

Trainer Make(const TrainSpec& spec, const fs::path& model) {
  const auto rows = [](uint32_t seed) {
    return std::make_unique<RowsInMemory>(ftd::testing::RandomRows(5, 9, seed));
  };
  return {spec, model, rows(7), rows(8), nullptr};
}

std::vector<double> Finish(Trainer& trainer) {
  std::vector<double> numbers;
  while (trainer.steps_taken() < kSteps) {
    const StepResult step = *trainer.Step(kNeverStop, [] {});
    numbers.insert(numbers.end(), {step.loss, step.grad_norm, step.entropy});
  }
  numbers.push_back(trainer.Evaluate(kNeverStop, [](int64_t) {})->loss);
  return numbers;
}

fs::path Export(const Trainer& trainer, Mode mode, const fs::path& dir) {
  fs::create_directories(dir);
  trainer.ExportWeights(dir);
  return dir / (mode == Mode::kFull ? "model.safetensors" : "adapter_model.safetensors");
}

// Trains the case on this process's device, once in one go and once broken off after two steps.
Outcome Train(const Case& c, const fs::path& model, const fs::path& dir) {
  Outcome outcome;
  Trainer unbroken = Make(c.spec, model);
  outcome.numbers = Finish(unbroken);
  outcome.result = Export(unbroken, c.spec.mode, dir / c.name);
  outcome.sha256 = Sha256File(outcome.result).value();

  const TempDir state;
  {
    Trainer first = Make(c.spec, model);
    for (int i = 0; i < 2; ++i) first.Step(kNeverStop, [] {});
    first.SaveState(state.path());
  }
  Trainer second = Make(c.spec, model);
  second.LoadState(state.path(), 2);
  Finish(second);
  const fs::path resumed = Export(second, c.spec.mode, dir / (c.name + "_resumed"));
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
  std::vector<std::string> variables = {"CUDA_VISIBLE_DEVICES="};
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (std::string_view(*variable).substr(0, 21) != "CUDA_VISIBLE_DEVICES=")
      variables.emplace_back(*variable);
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
    if (DeviceName() == "cpu") return;
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
    if (DeviceName() == "cpu") GTEST_SKIP() << "no GPU";
    ASSERT_NE(report_, nullptr) << "the CPU's side failed";
  }

  static void ExpectNearWeights(const fs::path& gpu_file, const fs::path& host_file, Dtype dtype) {
    const auto host = SafetensorsFile::Open(host_file).value();
    const auto gpu = SafetensorsFile::Open(gpu_file).value();
    ASSERT_EQ(gpu.tensors().size(), host.tensors().size());
    for (const auto& [tensor, view] : host.tensors()) {
      const at::Tensor a = ViewAsTensor(view), b = ViewAsTensor(gpu.tensors().at(tensor));
      // Adam's first steps have the size of the learning rate however small a gradient is.
      const double distance = ((a - b).norm() / a.norm()).item<double>();
      EXPECT_LE(distance, dtype == Dtype::kFloat32 ? 1e-3 : 0.2) << tensor;
    }
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
  const double tolerance = c.spec.dtype == Dtype::kFloat32 ? 1e-5 : 3e-2;
  ASSERT_EQ(gpu.numbers.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(gpu.numbers[i], expected[i], tolerance * std::abs(expected[i])) << i;
  ExpectNearWeights(gpu.result, host["result"].get<std::string>(), c.spec.dtype);
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
