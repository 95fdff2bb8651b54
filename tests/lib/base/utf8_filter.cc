// UTF-8 as a filter, for a test in Python. Each line of stdin is answered by a line of stdout:
//
//   bytes HEX       whether they are valid (0 or 1), repaired (hex), and the code points of that
//   point NUMBER    its bytes (hex)
//   last HEX        where the last code point starts
#include <iostream>
#include <string>

#include "absl/strings/escaping.h"
#include "lib/base/utf8.h"

namespace {

void PrintJudgement(const std::string& bytes) {
  const std::string repaired = ftd::RepairUtf8(bytes);
  std::cout << ftd::IsValidUtf8(bytes) << ' ' << absl::BytesToHexString(repaired);
  for (size_t pos = 0; pos < repaired.size();
       pos += ftd::Utf8Length(static_cast<unsigned char>(repaired[pos]))) {
    std::cout << ' ' << ftd::DecodeUtf8(repaired, pos);
  }
  std::cout << '\n';
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    const size_t space = line.find(' ');
    const std::string what = line.substr(0, space), value = line.substr(space + 1);
    if (what == "point") {
      std::string bytes;
      ftd::AppendUtf8(static_cast<uint32_t>(std::stoul(value)), &bytes);
      std::cout << absl::BytesToHexString(bytes) << '\n';
    } else if (what == "last") {
      std::cout << ftd::LastCodePointBegin(absl::HexStringToBytes(value)) << '\n';
    } else {
      PrintJudgement(absl::HexStringToBytes(value));
    }
  }
}
