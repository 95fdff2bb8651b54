// Seeded mutations of every file format that ftd reads from users: nothing may crash, hang or
// throw, and what is refused is refused with a reason. FTD_FUZZ_SEED and FTD_FUZZ_SECONDS repeat or
// lengthen a run.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>

#include "lib/base/concat.h"
#include "lib/base/file.h"
#include "lib/base/manifest.h"
#include "lib/base/utf8.h"
#include "lib/data/dataset_reader.h"
#include "lib/model/model_config.h"
#include "lib/model/safetensors.h"
#include "lib/runlog/record_log.h"
#include "lib/runlog/step_log.h"
#include "lib/spec/train_spec.h"
#include "lib/tokenizer/tokenizer.h"
#include "tests/lib/fuzz/mutator.h"
#include "tests/support/expect_status.h"
#include "tests/support/small_tokenizer.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

using nlohmann::json;

uint64_t Environment(const char* name, uint64_t fallback) {
  const char* value = std::getenv(name);
  return value == nullptr ? fallback : std::strtoull(value, nullptr, 10);
}

// A file in memory, rewritten for each mutation: faster than a file on a disk by far.
class MemoryFile {
 public:
  MemoryFile() : fd_(::memfd_create("fuzz", MFD_CLOEXEC)) {}
  std::filesystem::path Write(std::string_view bytes) const {
    EXPECT_EQ(::ftruncate(fd_.get(), static_cast<off_t>(bytes.size())), 0);
    EXPECT_EQ(::pwrite(fd_.get(), bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
    return "/proc/self/fd/" + std::to_string(fd_.get());
  }

 private:
  Fd fd_;
};

// Runs `attempt` on fresh mutations for a share of the time.
void Fuzz(const char* what, const std::function<absl::Status(Mutator&)>& attempt) {
  const uint64_t seed = Environment("FTD_FUZZ_SEED", 20261122);
  const auto time = std::chrono::milliseconds(1000 * Environment("FTD_FUZZ_SECONDS", 1));
  const auto end = std::chrono::steady_clock::now() + time;
  uint64_t runs = 0, refused = 0;
  for (; std::chrono::steady_clock::now() < end; ++runs) {
    SCOPED_TRACE(Concat(what, ": FTD_FUZZ_SEED=", seed + runs));
    Mutator mutator(seed + runs);
    const absl::Status status = attempt(mutator);
    if (status.ok()) continue;
    ++refused;
    ASSERT_FALSE(status.message().empty());
    ASSERT_NO_THROW(json(std::string(status.message())).dump()) << "a message that is not UTF-8";
  }
  std::cout << what << ": " << runs << " mutations, " << refused << " refused\n";
  EXPECT_GT(runs, 20u);
  EXPECT_GT(refused, 0u);
}

// EncodeAt gives Encode's ids, and finds the tokens of all characters of `text` in their order.
void ExpectTokensInOrder(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<size_t> positions, tokens;
  for (size_t pos = 0; pos < text.size(); pos += Utf8Length(static_cast<unsigned char>(text[pos])))
    positions.push_back(pos);
  const std::vector<int32_t> ids = tokenizer.EncodeAt(text, positions, &tokens);
  EXPECT_EQ(ids, tokenizer.Encode(text, false));
  EXPECT_EQ(tokens.size(), positions.size());
  EXPECT_TRUE(std::is_sorted(tokens.begin(), tokens.end()));
  EXPECT_TRUE(tokens.empty() || tokens.back() <= ids.size());
}

TEST(Fuzz, TokenizerJson) {
  json document = SmallTokenizer();
  document["normalizer"] = {
      {"type", "Sequence"},
      {"normalizers",
       {{{"type", "NFC"}},
        {{"type", "Lowercase"}},
        {{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", "▁"}},
        {{"type", "Prepend"}, {"prepend", "a"}},
        {{"type", "Strip"}, {"strip_left", true}, {"strip_right", false}}}}};
  document["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"},
         {"pattern", {{"Regex", R"(\p{N}{1,3}|\s+(?!\S)|[^a-c]?x++)"}}},
         {"behavior", "MergedWithNext"},
         {"invert", true}},
        {{"type", "Digits"}, {"individual_digits", true}},
        {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "first"}, {"split", true}},
        {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"use_regex", true}}}}};
  document["decoder"] = {{"type", "Sequence"},
                         {"decoders",
                          {{{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}},
                           {{"type", "ByteFallback"}},
                           {{"type", "Fuse"}},
                           {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 2}},
                           {{"type", "Metaspace"}, {"replacement", "▁"}},
                           {{"type", "ByteLevel"}}}}};
  // Fewer tokens, so that mutations reach the rest more often.
  for (int b = 0x80; b < 256; ++b)
    document["model"]["vocab"].erase(BytesToAlphabet(std::string(1, static_cast<char>(b))));
  const std::string text = document.dump();
  const std::string sample = "hello  w 12 ▁<eos> x\xff <bos>éé日\n\n";
  Fuzz("tokenizer.json", [&](Mutator& mutator) {
    const auto tokenizer =
        Tokenizer::Parse(mutator.Below(2) == 0 ? mutator.Bytes(text) : mutator.Json(document));
    if (!tokenizer.ok()) return tokenizer.status();
    const std::string mutated = mutator.Bytes(sample);
    const std::vector<int32_t> ids = (*tokenizer)->Encode(mutated, true);
    (*tokenizer)->Decode(ids);
    ExpectTokensInOrder(**tokenizer, RepairUtf8(mutated));
    return absl::OkStatus();
  });
}

TEST(Fuzz, TextsOfAGoodTokenizer) {
  const auto tokenizer = Tokenizer::Parse(SmallTokenizer().dump());
  ASSERT_OK(tokenizer);
  Fuzz("texts", [&](Mutator& mutator) {
    const std::string text =
        mutator.Bytes("hello hell w  \n\n\t12345 \xe2\x82\xac <eos>\xf0\x9f\x99\x82 don't <bos");
    const std::vector<int32_t> ids = (*tokenizer)->Encode(text, false);
    // Byte-level tokenizers lose nothing: what comes back is the text, repaired; encoded again it
    // is the same.
    const std::string decoded = (*tokenizer)->Decode(ids);
    EXPECT_EQ((*tokenizer)->Encode(decoded, false), ids);
    ExpectTokensInOrder(**tokenizer, decoded);
    return decoded == text ? absl::OkStatus() : absl::InvalidArgumentError("not UTF-8");
  });
}

TEST(Fuzz, ConfigJson) {
  const json config =
      json::parse(R"({"model_type": "llama", "vocab_size": 300, "hidden_size": 64, "head_dim": 16,
      "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "dtype": "bfloat16",
      "rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
      "original_max_position_embeddings": 8192}, "eos_token_id": [1, 2], "tie_word_embeddings": true, "hidden_act": "silu"})");
  Fuzz("config.json", [&](Mutator& mutator) {
    const auto parsed = ParseModelConfig(mutator.Below(2) == 0 ? mutator.Bytes(config.dump())
                                                               : mutator.Json(config));
    if (!parsed.ok()) return parsed.status();
    EXPECT_GT(parsed->head_dim * parsed->num_attention_heads * parsed->num_key_value_heads, 0);
    return absl::OkStatus();
  });
}

TEST(Fuzz, TrainSpec) {
  const json spec = {
      {"mode", "LORA"},
      {"model", "/m"},
      {"dataset", {{"server_path", "/d"}, {"size", "3"}}},
      {"dtype", "FLOAT32"},
      {"num_epochs", 1},
      {"batch_size", 8},
      {"learning_rate", 1e-4},
      {"seed", "42"},
      {"shuffle", true},
      {"lora", {{"rank", 8}, {"alpha", 16}, {"dropout", 0}, {"target_modules", {"q_proj"}}}}};
  Fuzz("train spec", [&](Mutator& mutator) {
    const auto resolved = ResolveTrainSpec(
        mutator.Below(2) == 0 ? mutator.Bytes(spec.dump()) : mutator.Json(spec), Dtype::kFloat32);
    if (!resolved.ok()) return resolved.status();
    const std::string again = TrainSpecToJson(*resolved);
    const auto twice = ResolveTrainSpec(again, Dtype::kBfloat16);
    EXPECT_EQ(twice.ok() ? TrainSpecToJson(*twice) : twice.status().ToString(), again);
    return absl::OkStatus();
  });
}

TEST(Fuzz, DatasetLines) {
  const MemoryFile file;
  const std::string lines =
      "{\"instruction\":\"I\",\"input\":\"é\",\"output\":\"\\u00e9\"}\n{\"text\":\"a\",\"n\":[{}]}"
      "\r\n\n";
  const std::string array =
      "[{\"text\":\"a\"},\n{\"instruction\":\"I\",\"output\":\"O\",\"messages\":[{\"content\":[1.5,"
      "NaN,"
      "{\"\\u0000\":\"\\\"\"}]}]}]";
  Fuzz("dataset", [&](Mutator& mutator) {
    const auto path = file.Write(mutator.Bytes(mutator.Below(2) == 0 ? lines : array));
    DatasetReader reader({.files = {{path, "rows", ""}},
                          .limit = static_cast<int64_t>(mutator.Below(3)),
                          .skip_bad_rows = static_cast<int64_t>(mutator.Below(2))});
    Example example;
    auto found = reader.Next(&example);
    while (found.ok() && *found) found = reader.Next(&example);
    return found.status();
  });
}

TEST(Fuzz, SafetensorsHeader) {
  const MemoryFile memory;
  const json header = {{"__metadata__", {{"format", "pt"}}},
                       {"a", {{"dtype", "F32"}, {"shape", {2, 2}}, {"data_offsets", {0, 16}}}},
                       {"b", {{"dtype", "BF16"}, {"shape", {4}}, {"data_offsets", {16, 24}}}}};
  Fuzz("safetensors", [&](Mutator& mutator) {
    std::string text = mutator.Below(2) == 0 ? mutator.Bytes(header.dump()) : mutator.Json(header);
    uint64_t size = text.size();
    if (mutator.Below(8) == 0) size ^= uint64_t{1} << mutator.Below(64);
    text.insert(0, reinterpret_cast<const char*>(&size), sizeof size);
    const auto file = SafetensorsFile::Open(memory.Write(text + std::string(24, 'd')));
    if (!file.ok()) return file.status();
    size_t sum = 0;
    for (const auto& [name, view] : file->tensors()) {
      for (const char c : view.data) sum += static_cast<unsigned char>(c);
    }
    EXPECT_LE(sum, size_t{24} * 'd');
    return absl::OkStatus();
  });
}

TEST(Fuzz, LogsAndManifests) {
  const TempDir dir;
  const MemoryFile events_file, steps_file;
  {
    auto records = RecordLogWriter::Create(dir / "events.log");
    auto steps = StepLogWriter::Create(dir / "steps.log", 1, 9);
    for (int i = 1; i < 4; ++i) {
      EXPECT_OK(records->Append(std::string(static_cast<size_t>(i) * 9, 'r'), false));
      v1::StepMetrics step;
      step.set_step(i);
      EXPECT_OK(steps->Append(step));
    }
  }
  dir.Write("tmp/weights", "w");
  ASSERT_OK(SealDirectory(dir / "tmp", dir / "checkpoint-1", Manifest()));
  const std::string events = *ReadFile(dir / "events.log"), rows = *ReadFile(dir / "steps.log"),
                    manifest = *ReadFile(dir / "checkpoint-1/MANIFEST.json");
  const json document = json::parse(manifest);
  Fuzz("logs and manifests", [&](Mutator& mutator) {
    const auto records = ReadRecords(events_file.Write(mutator.Bytes(events)), mutator.Below(40));
    EXPECT_TRUE(records.ok());
    MergeStepLogs({dir / "steps.log", steps_file.Write(mutator.Bytes(rows))})
        .status()
        .IgnoreError();
    dir.Write("checkpoint-1/MANIFEST.json",
              mutator.Below(2) == 0 ? mutator.Bytes(manifest) : mutator.Json(document));
    ReadManifest(dir / "checkpoint-1").status().IgnoreError();
    return VerifyDirectory(dir / "checkpoint-1").status();
  });
}

}  // namespace
}  // namespace ftd
