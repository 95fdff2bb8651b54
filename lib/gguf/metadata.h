// The key-value pairs of a GGUF file, in the order in which they are added.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ftd::gguf {

class Metadata {
 public:
  // One overload a type of the format; the type is part of what readers expect of a key. Requires:
  // no key twice.
  void Add(std::string_view key, uint8_t value);
  void Add(std::string_view key, int8_t value);
  void Add(std::string_view key, uint16_t value);
  void Add(std::string_view key, int16_t value);
  void Add(std::string_view key, uint32_t value);
  void Add(std::string_view key, int32_t value);
  void Add(std::string_view key, uint64_t value);
  void Add(std::string_view key, int64_t value);
  void Add(std::string_view key, float value);
  void Add(std::string_view key, double value);
  void Add(std::string_view key, bool value);
  void Add(std::string_view key, std::string_view value);
  void Add(std::string_view key, const char* value) { Add(key, std::string_view(value)); }
  void Add(std::string_view key, const std::vector<int32_t>& values);
  void Add(std::string_view key, const std::vector<float>& values);
  void Add(std::string_view key, const std::vector<bool>& values);
  void Add(std::string_view key, const std::vector<std::string>& values);

  uint64_t count() const { return count_; }
  // As they lie in the file.
  const std::string& bytes() const { return bytes_; }

 private:
  void AddKey(std::string_view key);
  template <typename T>
  void AddScalar(std::string_view key, T value);
  template <typename T>
  void AddArray(std::string_view key, const std::vector<T>& values);

  std::string bytes_;
  uint64_t count_ = 0;
};

// Appends an integer or a text as the format has it: little-endian; the text after its size.
void AppendU32(uint32_t value, std::string* out);
void AppendU64(uint64_t value, std::string* out);
void AppendText(std::string_view text, std::string* out);

}  // namespace ftd::gguf
