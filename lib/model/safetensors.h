// safetensors files and Hugging Face's sharded index, read by mmap with every bound checked.
//
// Format: u64 header length, JSON header {name: {dtype, shape, data_offsets}}, bytes
// (huggingface/safetensors).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/file.h"

namespace ftd {

// Those that the engine reads or writes, and kOther: a file may have tensors of any dtype that the
// format knows, as long as nothing needs them.
enum class TensorDtype { kF64, kF32, kF16, kBF16, kI64, kI32, kU8, kOther };

std::string_view TensorDtypeName(TensorDtype dtype);  // "F32"
size_t TensorDtypeSize(TensorDtype dtype);            // bytes of an element; not of kOther

// A tensor inside a mapped file. Valid as long as the file's owner lives. The data may be
// unaligned.
struct TensorView {
  TensorDtype dtype;
  std::vector<int64_t> shape;
  std::string_view data;
};

// One file. FAILED_PRECONDITION MODEL_CORRUPT for a header that lies: longer than the file, not
// JSON, an unknown dtype, offsets that are out of range, overlap, leave holes, or do not match
// shape × dtype.
class SafetensorsFile {
 public:
  static absl::StatusOr<SafetensorsFile> Open(const std::filesystem::path& path);
  // A file of a directory that somebody else fills (lib/base/contained_file.h).
  static absl::StatusOr<SafetensorsFile> OpenContained(const std::filesystem::path& dir,
                                                       const std::string& name);
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  explicit SafetensorsFile(MappedFile file) : file_(std::move(file)) {}
  static absl::StatusOr<SafetensorsFile> Parse(MappedFile mapped,
                                               const std::filesystem::path& path_for_messages);
  MappedFile file_;
  std::map<std::string, TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

// A file of a model's weights, by its name in the model's directory.
struct WeightsFile {
  std::string name;
  SafetensorsFile file;
};

// All weights of a model directory: model.safetensors, or else the shards that
// model.safetensors.index.json names, as in transformers. Of a tensor that several shards have, the
// last one counts, in the order of the shards' names.
class ModelWeights {
 public:
  // NOT_FOUND MODEL_NOT_FOUND when there is neither file; MODEL_CORRUPT when a shard is missing or
  // lacks a tensor.
  static absl::StatusOr<ModelWeights> Open(const std::filesystem::path& model_dir);
  // nullptr when absent.
  const TensorView* Find(const std::string& name) const;
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  // As they are on disk, in the order of their names.
  const std::vector<WeightsFile>& files() const { return files_; }
  // Gives a tensor of these files another name.
  void Add(const std::string& name, const TensorView& tensor) { tensors_[name] = tensor; }
  // Gives tensors whose names begin with `from` names that begin with `to` instead, unless a tensor
  // has that name already.
  void Rename(std::string_view from, std::string_view to);

 private:
  std::vector<WeightsFile> files_;
  std::map<std::string, TensorView> tensors_;
};

}  // namespace ftd
