// Programs around lib/gguf:
//   gguf_tool model TYPE MODEL_DIR FILE    the model as a GGUF file; the report as a line of JSON
//   gguf_tool adapter TYPE MODEL_DIR FILE ADAPTER_DIR    likewise the adapter
//   gguf_tool blocks TYPE                  float32 numbers from stdin as the bytes of that type
// TYPE is a file type ("q4_k_m"); for `blocks` a tensor type ("Q4_K").
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.h"
#include "lib/gguf/convert.h"
#include "lib/gguf/tensor_type.h"
#include "nlohmann/json.hpp"

namespace {

using namespace ftd::gguf;

absl::StatusOr<Report> Converted(char** arguments) {
  FTD_ASSIGN_OR_RETURN(const FileType* type, FindFileType(arguments[0]));
  if (arguments[3] == nullptr) return ConvertModel(arguments[1], arguments[2], *type);
  return ConvertAdapter(arguments[1], arguments[3], arguments[2], *type);
}

int Convert(char** arguments) {
  const absl::StatusOr<Report> report = Converted(arguments);
  if (!report.ok()) {
    std::fprintf(stderr, "%s\n", std::string(report.status().message()).c_str());
    return 1;
  }
  const nlohmann::json line = {
      {"bytes", report->bytes}, {"tensors", report->tensors}, {"notes", report->notes}};
  std::printf("%s\n", line.dump().c_str());
  return 0;
}

int Encode(std::string_view name) {
  using enum TensorType;
  for (const TensorType type : {kF32, kF16, kBF16, kQ8_0, kQ4_0, kQ5_0, kQ5_1, kQ4K, kQ5K, kQ6K}) {
    const TensorTypeRow& row = RowOf(type);
    if (row.name != name) continue;
    std::vector<float> block(row.block);
    std::string bytes(row.block_bytes, '\0');
    while (std::fread(block.data(), sizeof(float), block.size(), stdin) == block.size()) {
      row.encode(block.data(), row.block, bytes.data());
      std::fwrite(bytes.data(), 1, bytes.size(), stdout);
    }
    return 0;
  }
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view verb = argc > 1 ? argv[1] : "";
  if ((verb == "model" && argc == 5) || (verb == "adapter" && argc == 6)) return Convert(argv + 2);
  if (verb == "blocks" && argc == 3) return Encode(argv[2]);
  return 2;
}
