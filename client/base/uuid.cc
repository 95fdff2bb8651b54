#include "client/base/uuid.h"

#include <array>
#include <random>

#include "absl/strings/str_format.h"

namespace ftd {

// Groups of 8-4-4-4-12 digits; version and variant are at fixed places within the bits.
std::string NewUuid() {
  std::random_device kernel("/dev/urandom");  // not the CPU's generator, which libstdc++ prefers
  std::array<uint32_t, 4> bits{};
  for (uint32_t& word : bits) word = kernel();
  bits[1] = (bits[1] & 0xFFFF0FFF) | 0x00004000;  // version 4
  bits[2] = (bits[2] & 0x3FFFFFFF) | 0x80000000;  // variant 1
  return absl::StrFormat("%08x-%04x-%04x-%04x-%04x%08x", bits[0], bits[1] >> 16, bits[1] & 0xFFFF,
                         bits[2] >> 16, bits[2] & 0xFFFF, bits[3]);
}

}  // namespace ftd
