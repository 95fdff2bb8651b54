#include "lib/data/rows/json_writer.h"

namespace ftd {
namespace {

constexpr std::string_view kEscaped = "\"\\\b\f\n\r\t", kLetters = "\"\\bfnrt";
constexpr char kHex[] = "0123456789abcdef";

bool IsEscaped(char c) { return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\'; }

}  // namespace

// A comma is due after a value. The last byte shows whether one is there: all that is written ends
// in a quote, a letter, a digit or a closing bracket, save where no comma is due.
void JsonWriter::Separate() {
  if (!out_->empty() && std::string_view("[{:").find(out_->back()) == std::string_view::npos)
    out_->push_back(',');
}

void JsonWriter::Open(char bracket) {
  Separate();
  out_->push_back(bracket);
}

void JsonWriter::Key(std::string_view name) {
  Separate();
  Quote(name);
  out_->push_back(':');
}

void JsonWriter::String(std::string_view text) {
  Separate();
  Quote(text);
}

void JsonWriter::Literal(std::string_view spelling) {
  Separate();
  out_->append(spelling);
}

// The short escapes are used where there are any: then what was read as JSON never grows.
void JsonWriter::Quote(std::string_view text) {
  out_->push_back('"');
  size_t begin = 0;  // of a run that needs no escape
  for (size_t i = 0; i < text.size(); ++i) {
    if (!IsEscaped(text[i])) continue;
    out_->append(text.substr(begin, i - begin));
    begin = i + 1;
    const size_t found = kEscaped.find(text[i]);
    if (found != std::string_view::npos) {
      out_->append({'\\', kLetters[found]});
    } else {
      out_->append({'\\', 'u', '0', '0', kHex[text[i] >> 4], kHex[text[i] & 15]});
    }
  }
  out_->append(text.substr(begin));
  out_->push_back('"');
}

}  // namespace ftd
