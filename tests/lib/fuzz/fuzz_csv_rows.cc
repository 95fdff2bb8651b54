// Any bytes as a CSV or TSV file, plain or compressed. The first byte chooses the delimiter.
#include "lib/data/rows/csv_rows.h"
#include "tests/lib/fuzz/read_all.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const char delimiter = data[0] == '\t' ? '\t' : ',';
  if (auto stream = ftd::OpenByteStreamInMemory(bytes, "fuzz"); stream.ok())
    ftd::ReadAll(*ftd::OpenCsvRows(*std::move(stream), "fuzz", delimiter));
  return 0;
}
