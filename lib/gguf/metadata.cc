#include "lib/gguf/metadata.h"

#include <bit>
#include <type_traits>

namespace ftd::gguf {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF files are little-endian");

// The number that stands before a value of type T.
template <typename T>
inline constexpr uint32_t kTypeOf = 0;
template <>
inline constexpr uint32_t kTypeOf<uint8_t> = 0;
template <>
inline constexpr uint32_t kTypeOf<int8_t> = 1;
template <>
inline constexpr uint32_t kTypeOf<uint16_t> = 2;
template <>
inline constexpr uint32_t kTypeOf<int16_t> = 3;
template <>
inline constexpr uint32_t kTypeOf<uint32_t> = 4;
template <>
inline constexpr uint32_t kTypeOf<int32_t> = 5;
template <>
inline constexpr uint32_t kTypeOf<float> = 6;
template <>
inline constexpr uint32_t kTypeOf<bool> = 7;
template <>
inline constexpr uint32_t kTypeOf<std::string> = 8;
constexpr uint32_t kArray = 9;
template <>
inline constexpr uint32_t kTypeOf<uint64_t> = 10;
template <>
inline constexpr uint32_t kTypeOf<int64_t> = 11;
template <>
inline constexpr uint32_t kTypeOf<double> = 12;

template <typename T>
void AppendValue(const T& value, std::string* out) {
  if constexpr (std::is_same_v<T, std::string>) {
    AppendText(value, out);
  } else {
    out->append(reinterpret_cast<const char*>(&value), sizeof value);
  }
}

}  // namespace

void AppendU32(uint32_t value, std::string* out) { AppendValue(value, out); }
void AppendU64(uint64_t value, std::string* out) { AppendValue(value, out); }

void AppendText(std::string_view text, std::string* out) {
  AppendU64(text.size(), out);
  out->append(text);
}

void Metadata::AddKey(std::string_view key) {
  AppendText(key, &bytes_);
  ++count_;
}

template <typename T>
void Metadata::AddScalar(std::string_view key, T value) {
  AddKey(key);
  AppendU32(kTypeOf<T>, &bytes_);
  AppendValue(value, &bytes_);
}

template <typename T>
void Metadata::AddArray(std::string_view key, const std::vector<T>& values) {
  AddKey(key);
  AppendU32(kArray, &bytes_);
  AppendU32(kTypeOf<T>, &bytes_);
  AppendU64(values.size(), &bytes_);
  for (const auto& value : values) AppendValue<T>(value, &bytes_);
}

void Metadata::Add(std::string_view key, uint8_t value) { AddScalar(key, value); }
void Metadata::Add(std::string_view key, int8_t value) { AddScalar(key, value); }
void Metadata::Add(std::string_view key, uint16_t value) { AddScalar(key, value); }
void Metadata::Add(std::string_view key, int16_t value) { AddScalar(key, value); }
void Metadata::Add(std::string_view key, uint32_t value) { AddScalar(key, value); }
void Metadata::Add(std::string_view key, int32_t value) { AddScalar(key, value); }
void Metadata::Add(std::string_view key, uint64_t value) { AddScalar(key, value); }
void Metadata::Add(std::string_view key, int64_t value) { AddScalar(key, value); }
void Metadata::Add(std::string_view key, float value) { AddScalar(key, value); }
void Metadata::Add(std::string_view key, double value) { AddScalar(key, value); }
void Metadata::Add(std::string_view key, bool value) { AddScalar(key, value); }
void Metadata::Add(std::string_view key, std::string_view value) {
  AddScalar(key, std::string(value));
}
void Metadata::Add(std::string_view key, const std::vector<int32_t>& values) {
  AddArray(key, values);
}
void Metadata::Add(std::string_view key, const std::vector<float>& values) {
  AddArray(key, values);
}
void Metadata::Add(std::string_view key, const std::vector<bool>& values) { AddArray(key, values); }
void Metadata::Add(std::string_view key, const std::vector<std::string>& values) {
  AddArray(key, values);
}

}  // namespace ftd::gguf
