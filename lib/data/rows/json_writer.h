// Compact JSON text, written value by value.
#pragma once

#include <string>
#include <string_view>

namespace ftd {

// Appends to a string that outlives it; commas come by themselves. Not thread-safe. The caller
// closes what it opens and gives each member of an object a key. Memory is the text's alone,
// however deep it nests.
class JsonWriter {
 public:
  explicit JsonWriter(std::string* out) : out_(out) {}

  // Requires: '{' or '[' to open, '}' or ']' to close.
  void Open(char bracket);
  void Close(char bracket) { out_->push_back(bracket); }
  void Key(std::string_view name);
  // Bytes other than '"', '\' and control characters stay as they are: UTF-8 in, UTF-8 out.
  void String(std::string_view text);
  // Appends a number's digits, or null, true or false.
  void Literal(std::string_view spelling);

  size_t size() const { return out_->size(); }

 private:
  void Separate();
  void Quote(std::string_view text);

  std::string* out_;
};

}  // namespace ftd
