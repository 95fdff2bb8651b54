#include "lib/model/safetensors.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "lib/base/contained_file.h"
#include "lib/base/error.h"
#include "lib/base/json.h"

namespace ftd {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the reference implementation

// All dtypes of safetensors 0.8.
struct DtypeRow {
  TensorDtype dtype;
  std::string_view name;
  size_t bits;
};
constexpr TensorDtype kOther = TensorDtype::kOther;
constexpr DtypeRow kDtypes[] = {
    {TensorDtype::kF64, "F64", 64},
    {TensorDtype::kF32, "F32", 32},
    {TensorDtype::kF16, "F16", 16},
    {TensorDtype::kBF16, "BF16", 16},
    {TensorDtype::kI64, "I64", 64},
    {TensorDtype::kI32, "I32", 32},
    {TensorDtype::kU8, "U8", 8},
    {kOther, "BOOL", 8},
    {kOther, "I8", 8},
    {kOther, "I16", 16},
    {kOther, "U16", 16},
    {kOther, "U32", 32},
    {kOther, "U64", 64},
    {kOther, "C64", 64},
    {kOther, "F8_E4M3", 8},
    {kOther, "F8_E4M3FNUZ", 8},
    {kOther, "F8_E5M2", 8},
    {kOther, "F8_E5M2FNUZ", 8},
    {kOther, "F8_E8M0", 8},
    {kOther, "F6_E2M3", 6},
    {kOther, "F6_E3M2", 6},
    {kOther, "F4", 4},
};

// Returns the error of a damaged file. Nothing can be done with one but to fetch it again.
absl::Status Corrupt(const std::filesystem::path& path, std::string_view message) {
  return Error(Reason::kModelCorrupt,
               absl::StrCat(path.string(), ": ", absl::string_view(message.data(), message.size()),
                            "; download or copy the file again"));
}

// Returns shape × bits in bytes, or nothing when it overflows or is not a whole number.
std::optional<uint64_t> ByteSize(const std::vector<int64_t>& shape, size_t bits) {
  uint64_t size = bits;
  for (int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(size, static_cast<uint64_t>(extent), &size))
      return std::nullopt;
  }
  if (size % 8 != 0) return std::nullopt;
  return size / 8;
}

// Returns one entry of the header as a view into `data`. Everything in it is checked, because it
// comes from a download; later no bound needs another check.
absl::StatusOr<TensorView> ParseEntry(const std::filesystem::path& path, const std::string& name,
                                      const Json& entry, std::string_view data) {
  const std::string dtype_name = entry.at("dtype").get<std::string>();
  const auto* row = std::find_if(std::begin(kDtypes), std::end(kDtypes),
                                 [&](const DtypeRow& r) { return r.name == dtype_name; });
  if (row == std::end(kDtypes)) {
    return Error(Reason::kModelUnsupported,
                 absl::StrCat(path.string(), ": tensor ", name, " has dtype ", dtype_name,
                              ", which this release does not know"));
  }
  TensorView view;
  view.dtype = row->dtype;
  for (const Json& extent : entry.at("shape")) {
    if (!extent.is_number_integer())
      return Corrupt(path, absl::StrCat("tensor ", name, " has a bad shape"));
    view.shape.push_back(extent.get<int64_t>());
  }
  const Json& offsets = entry.at("data_offsets");
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    return Corrupt(path, absl::StrCat("tensor ", name, " has bad data_offsets"));
  }
  const auto begin = offsets[0].get<uint64_t>(), end = offsets[1].get<uint64_t>();
  // The two are compared and never added up: a header may hold any 64-bit number.
  if (begin > end || end > data.size()) {
    return Corrupt(path, absl::StrCat("tensor ", name, " ends at byte ", end, " of ", data.size(),
                                      "; the file is cut short or its header lies"));
  }
  if (ByteSize(view.shape, row->bits) != end - begin) {
    return Corrupt(path, absl::StrCat("tensor ", name, " has ", end - begin,
                                      " bytes, not what its shape needs"));
  }
  view.data = data.substr(begin, end - begin);
  return view;
}

// Tensors must lie back to back: the format allows neither overlap nor holes. An empty tensor has
// the address of its neighbour, so the size breaks the tie and it comes first.
absl::Status CheckCoverage(const std::filesystem::path& path,
                           const std::map<std::string, TensorView>& tensors,
                           std::string_view data) {
  std::vector<std::string_view> spans;
  spans.reserve(tensors.size());
  for (const auto& [name, view] : tensors) spans.push_back(view.data);
  std::sort(spans.begin(), spans.end(), [](std::string_view a, std::string_view b) {
    return std::make_pair(a.data(), a.size()) < std::make_pair(b.data(), b.size());
  });
  const char* expected = data.data();
  for (std::string_view span : spans) {
    if (span.data() != expected) return Corrupt(path, "tensors overlap or leave a hole");
    expected = span.data() + span.size();
  }
  if (expected != data.data() + data.size())
    return Corrupt(path, "bytes are left over after the last tensor");
  return absl::OkStatus();
}

// The files of an index, with the tensors that it promises in each.
absl::StatusOr<std::map<std::string, std::vector<std::string>>> ReadIndex(
    const std::filesystem::path& path) {
  FTD_ASSIGN_OR_RETURN(std::string text, ReadContained(path.parent_path(), path.filename()));
  const auto index = ParseJsonObject<Json>(text);
  if (!index.has_value() || !index->contains("weight_map") ||
      !index->at("weight_map").is_object()) {
    return Corrupt(path, "no weight_map");
  }
  std::map<std::string, std::vector<std::string>> names_by_file;
  for (const auto& [name, file] : index->at("weight_map").items()) {
    // A name with a folder in it could lead out of the model's directory.
    if (!file.is_string() || std::filesystem::path(file.get<std::string>()).has_parent_path()) {
      return Corrupt(path, absl::StrCat("weight_map names a file outside the model for ", name));
    }
    names_by_file[file.get<std::string>()].push_back(name);
  }
  return names_by_file;
}

}  // namespace

// kDtypes begins with a row for each of the enum, in its order.
std::string_view TensorDtypeName(TensorDtype dtype) {
  return dtype == kOther ? "of another type" : kDtypes[static_cast<int>(dtype)].name;
}
size_t TensorDtypeSize(TensorDtype dtype) { return kDtypes[static_cast<int>(dtype)].bits / 8; }

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::filesystem::path& path) {
  FTD_ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::Open(path));
  return Parse(std::move(mapped), path);
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::OpenContained(const std::filesystem::path& dir,
                                                               const std::string& name) {
  FTD_ASSIGN_OR_RETURN(const OpenedFile opened, ftd::OpenContained(dir, name));
  FTD_ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::Map(opened.fd, dir / name));
  return Parse(std::move(mapped), dir / name);
}

// Parses the header of a mapped file; the tensors' bytes are read from the disk when they are first
// used.
absl::StatusOr<SafetensorsFile> SafetensorsFile::Parse(MappedFile mapped,
                                                       const std::filesystem::path& path) {
  SafetensorsFile file(std::move(mapped));
  std::string_view bytes = file.file_.bytes();
  uint64_t header_bytes = 0;
  if (bytes.size() < sizeof header_bytes) return Corrupt(path, "shorter than a safetensors header");
  std::memcpy(&header_bytes, bytes.data(), sizeof header_bytes);
  // The second test subtracts instead of adding, because the length may be any number of 64 bits.
  if (header_bytes > kMaxHeaderBytes || header_bytes > bytes.size() - sizeof header_bytes) {
    return Corrupt(path,
                   absl::StrCat("its header claims ", header_bytes, " bytes of ", bytes.size()));
  }
  const std::string_view header_text = bytes.substr(sizeof header_bytes, header_bytes);
  const std::string_view data = bytes.substr(sizeof header_bytes + header_bytes);
  const auto header = ParseJsonObject<Json>(header_text);
  if (!header.has_value()) return Corrupt(path, "its header is not JSON");
  try {
    for (const auto& [name, entry] : header->items()) {
      if (name == "__metadata__") {
        if (!entry.is_null()) file.metadata_ = entry.get<std::map<std::string, std::string>>();
        continue;
      }
      FTD_ASSIGN_OR_RETURN(TensorView view, ParseEntry(path, name, entry, data));
      file.tensors_.emplace(name, std::move(view));
    }
  } catch (const Json::exception& error) {
    return Corrupt(path, absl::StrCat("its header is malformed (", error.what(), ")"));
  }
  FTD_RETURN_IF_ERROR(CheckCoverage(path, file.tensors_, data));
  return file;
}

// The single file first, as in transformers: an index beside it is left over from a save in shards.
absl::StatusOr<ModelWeights> ModelWeights::Open(const std::filesystem::path& model_dir) {
  ModelWeights weights;
  std::map<std::string, std::vector<std::string>> names_by_file;
  const auto index_path = model_dir / "model.safetensors.index.json";
  std::error_code ignored;
  if (std::filesystem::exists(model_dir / "model.safetensors", ignored)) {
    names_by_file["model.safetensors"] = {};
  } else if (std::filesystem::exists(index_path, ignored)) {
    FTD_ASSIGN_OR_RETURN(names_by_file, ReadIndex(index_path));
  } else {
    return Error(Reason::kModelNotFound,
                 absl::StrCat(model_dir.string(),
                              " has neither model.safetensors nor model.safetensors.index.json"));
  }
  for (const auto& [file_name, names] : names_by_file) {
    const auto path = model_dir / file_name;
    auto file = SafetensorsFile::OpenContained(model_dir, file_name);
    if (absl::IsNotFound(file.status()))
      return Corrupt(path, "the index names it, but it is missing");
    if (!file.ok()) return file.status();
    for (const std::string& name : names) {
      if (!file->tensors().count(name))
        return Corrupt(path, absl::StrCat("the index promises ", name, " in it"));
    }
    // Views point into the mapping, which stays where it is when its owner is moved below.
    for (const auto& [name, view] : file->tensors()) weights.tensors_[name] = view;
    weights.files_.push_back({file_name, *std::move(file)});
  }
  return weights;
}

void ModelWeights::Rename(std::string_view from, std::string_view to) {
  std::map<std::string, TensorView> renamed;
  for (auto it = tensors_.begin(); it != tensors_.end();) {
    const auto here = it++;
    if (!here->first.starts_with(from)) continue;
    std::string name(to);
    name.append(here->first, from.size());
    if (tensors_.count(name)) continue;
    renamed.emplace(std::move(name), here->second);
    tensors_.erase(here);
  }
  tensors_.merge(renamed);
}

const TensorView* ModelWeights::Find(const std::string& name) const {
  auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

}  // namespace ftd
