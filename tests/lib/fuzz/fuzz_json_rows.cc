// Any bytes as a JSON or JSON Lines file, plain or compressed.
#include "lib/data/rows/json_rows.h"
#include "tests/lib/fuzz/read_all.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (auto stream = ftd::OpenByteStreamInMemory(bytes, "fuzz"); stream.ok())
    ftd::ReadAll(*ftd::OpenJsonRows(*std::move(stream), "fuzz", {"text", "messages"}));
  return 0;
}
