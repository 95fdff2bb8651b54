#include "lib/model/safetensors.h"

#include "lib/base/file.h"
#include "lib/model/safetensors_writer.h"
#include "tests/support/expect_status.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

// A file with this header, and `data_bytes` bytes behind it.
std::string FileOf(const std::string& header, size_t data_bytes) {
  const uint64_t size = header.size();
  std::string file(reinterpret_cast<const char*>(&size), sizeof size);
  return file + header + std::string(data_bytes, 'd');
}

std::string Tensor(const char* name, const char* shape, const char* offsets,
                   const char* dtype = "F32") {
  return std::string("\"") + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape +
         R"(,"data_offsets":)" + offsets + "}";
}

// What the reference implementation writes: save({"b": int32 [2], "a": float32 [1, 2]},
// metadata={"format": "pt"}).
TEST(Safetensors, ReadsWhatTheReferenceWrites) {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"I32","shape":[2],"data_offsets":[8,16]}}  )";
  const float a[] = {1.5f, -2.0f};
  const int32_t b[] = {7, -9};
  std::string bytes = FileOf(header, 0);
  bytes.append(reinterpret_cast<const char*>(a), sizeof a)
      .append(reinterpret_cast<const char*>(b), sizeof b);
  const TempDir dir;
  const auto file = SafetensorsFile::Open(dir.Write("model.safetensors", bytes));
  ASSERT_OK(file);
  EXPECT_EQ(file->metadata().at("format"), "pt");
  ASSERT_EQ(file->tensors().size(), 2u);
  const TensorView& view = file->tensors().at("a");
  EXPECT_EQ(view.dtype, TensorDtype::kF32);
  EXPECT_THAT(view.shape, testing::ElementsAre(1, 2));
  EXPECT_EQ(view.data, std::string_view(reinterpret_cast<const char*>(a), sizeof a));
  EXPECT_EQ(file->tensors().at("b").data,
            std::string_view(reinterpret_cast<const char*>(b), sizeof b));
}

TEST(Safetensors, WritesWhatItReads) {
  const TempDir dir;
  const std::string data(24, 'x');
  const std::vector<TensorToWrite> tensors = {
      {"w", {TensorDtype::kBF16, {3, 2}, std::string_view(data).substr(0, 12)}},
      {"scalar", {TensorDtype::kF64, {}, std::string_view(data).substr(0, 8)}},
      {"empty", {TensorDtype::kF32, {0, 4}, {}}}};
  ASSERT_OK(WriteSafetensors(dir / "out", tensors, {{"format", "pt"}}));
  EXPECT_FALSE(WriteSafetensors(dir / "out", tensors, {}).ok());
  const auto file = SafetensorsFile::Open(dir / "out");
  ASSERT_OK(file);
  EXPECT_EQ(file->tensors().size(), 3u);
  EXPECT_TRUE(file->tensors().at("scalar").shape.empty());
  EXPECT_EQ(file->tensors().at("w").data, std::string(12, 'x'));
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, ReadFile(dir / "out")->data(), sizeof header_bytes);
  EXPECT_EQ((header_bytes + sizeof header_bytes) % 64, 0u);
}

TEST(Safetensors, AFileWithoutAllOfItsBytesIsNotFinished) {
  const TempDir dir;
  auto writer = SafetensorsWriter::Create(dir / "out", {{"w", TensorDtype::kBF16, {3, 2}}}, {});
  ASSERT_OK(writer);
  ASSERT_OK(writer->Write(std::string(11, 'x')));
  EXPECT_ERROR(writer->Finish(), absl::StatusCode::kInternal, "INTERNAL", "not all tensors");
  ASSERT_OK(writer->Write("x"));
  EXPECT_OK(writer->Finish());
}

TEST(Safetensors, HeadersThatLie) {
  const struct {
    const char* name;
    std::string bytes;
  } kTable[] = {
      {"no length", "short"},
      {"length beyond the file", std::string("\xff\xff\xff\x00\x00\x00\x00\x00{}", 10)},
      {"length of 2^64-1", std::string(8, '\xff') + "{}"},
      {"not JSON", FileOf(R"({"a":)", 0)},
      {"an array", FileOf("[]", 0)},
      {"a tensor that is no object", FileOf(R"({"a":3})", 0)},
      {"no dtype", FileOf(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4)},
      {"no shape", FileOf(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4)},
      {"no offsets", FileOf(R"({"a":{"dtype":"F32","shape":[1]}})", 4)},
      {"offsets beyond the data", FileOf("{" + Tensor("a", "[2]", "[0,8]") + "}", 4)},
      {"offsets the wrong way round", FileOf("{" + Tensor("a", "[1]", "[4,0]") + "}", 4)},
      {"negative offsets", FileOf("{" + Tensor("a", "[1]", "[-4,0]") + "}", 4)},
      {"one offset", FileOf("{" + Tensor("a", "[1]", "[0]") + "}", 4)},
      {"fractional offsets", FileOf("{" + Tensor("a", "[1]", "[0.5,4.5]") + "}", 8)},
      {"offsets of 2^64",
       FileOf("{" + Tensor("a", "[1]", "[18446744073709551612,18446744073709551616]") + "}", 4)},
      {"shape too small", FileOf("{" + Tensor("a", "[1]", "[0,8]") + "}", 8)},
      {"shape too large", FileOf("{" + Tensor("a", "[3]", "[0,8]") + "}", 8)},
      {"negative extent", FileOf("{" + Tensor("a", "[-1,-1]", "[0,4]") + "}", 4)},
      {"extents that overflow",
       FileOf("{" + Tensor("a", "[4611686018427387904,4]", "[0,0]") + "}", 0)},
      {"extent of 2^63", FileOf("{" + Tensor("a", "[9223372036854775808]", "[0,0]") + "}", 0)},
      {"shape of strings", FileOf("{" + Tensor("a", R"(["1"])", "[0,4]") + "}", 4)},
      {"overlap",
       FileOf("{" + Tensor("a", "[1]", "[0,4]") + "," + Tensor("b", "[1]", "[0,4]") + "}", 4)},
      {"partial overlap",
       FileOf("{" + Tensor("a", "[2]", "[0,8]") + "," + Tensor("b", "[2]", "[4,12]") + "}", 12)},
      {"hole",
       FileOf("{" + Tensor("a", "[1]", "[0,4]") + "," + Tensor("b", "[1]", "[8,12]") + "}", 12)},
      {"bytes behind the last tensor", FileOf("{" + Tensor("a", "[1]", "[0,4]") + "}", 5)},
      {"metadata that is no map of strings", FileOf(R"({"__metadata__":{"a":[1]}})", 0)},
  };
  const TempDir dir;
  for (const auto& row : kTable) {
    SCOPED_TRACE(row.name);
    EXPECT_ERROR(SafetensorsFile::Open(dir.Write("lie.safetensors", row.bytes)), kPrecondition,
                 "MODEL_CORRUPT", "lie.safetensors");
  }
  EXPECT_ERROR(SafetensorsFile::Open(
                   dir.Write("f8", FileOf("{" + Tensor("a", "[4]", "[0,4]", "F9_E4M3") + "}", 4))),
               kPrecondition, "MODEL_UNSUPPORTED", "F9_E4M3");
}

TEST(Safetensors, ATruncationAtAnyByteIsFound) {
  const std::string bytes = FileOf("{" + Tensor("a", "[2,2]", "[0,16]") + "}", 16);
  const TempDir dir;
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    EXPECT_ERROR(SafetensorsFile::Open(dir.Write("cut", bytes.substr(0, cut))), kPrecondition,
                 "MODEL_CORRUPT", "cut");
  }
}

TEST(ModelWeights, ShardsByTheIndex) {
  const TempDir dir;
  dir.Write("one.safetensors", FileOf("{" + Tensor("a", "[1]", "[0,4]") + "}", 4));
  dir.Write("two.safetensors", FileOf("{" + Tensor("b", "[1]", "[0,4]") + "}", 4));
  const auto index = [&](const char* map) {
    dir.Write("model.safetensors.index.json",
              std::string(R"({"metadata":{},"weight_map":)") + map + "}");
    return ModelWeights::Open(dir.path());
  };
  const auto weights = index(R"({"a":"one.safetensors","b":"two.safetensors"})");
  ASSERT_OK(weights);
  EXPECT_NE(weights->Find("b"), nullptr);
  EXPECT_EQ(weights->Find("c"), nullptr);
  EXPECT_ERROR(index(R"({"a":"one.safetensors","c":"two.safetensors"})"), kPrecondition,
               "MODEL_CORRUPT", "c");
  EXPECT_ERROR(index(R"({"a":"three.safetensors"})"), kPrecondition, "MODEL_CORRUPT",
               "three.safetensors");
  EXPECT_ERROR(index(R"({"a":"../one.safetensors"})"), kPrecondition, "MODEL_CORRUPT", "outside");
  EXPECT_ERROR(index(R"({"a":3})"), kPrecondition, "MODEL_CORRUPT", "a");
  EXPECT_ERROR(index("[]"), kPrecondition, "MODEL_CORRUPT", "weight_map");
}

TEST(ModelWeights, NoWeights) {
  const TempDir dir;
  EXPECT_ERROR(ModelWeights::Open(dir.path()), absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
               "model.safetensors");
}

}  // namespace
}  // namespace ftd
