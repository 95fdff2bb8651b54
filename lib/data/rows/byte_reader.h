// Characters and lines out of a ByteStream, with line numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "lib/data/rows/byte_stream.h"

namespace ftd {

// Not thread-safe. A byte order mark at the beginning is passed over. Reading ends at the end of
// the stream or at its error: status() says which.
class ByteReader {
 public:
  static constexpr int kEnd = -1;

  explicit ByteReader(std::unique_ptr<ByteStream> stream);

  // The next byte, 0 to 255, or kEnd.
  int Get() {
    if (position_ == size_ && !Fill()) return kEnd;
    const char c = buffer_[position_++];
    line_ += c == '\n';
    return static_cast<unsigned char>(c);
  }
  int Peek() {
    if (position_ == size_ && !Fill()) return kEnd;
    return static_cast<unsigned char>(buffer_[position_]);
  }
  // The next line without its '\n', until the next call; false when there is none. The error of a
  // line longer than kMaxRowBytes is OUT_OF_RANGE.
  bool GetLine(std::string_view* line);

  // Number of the line that the next byte belongs to, from 1.
  int64_t line() const { return line_; }
  const absl::Status& status() const { return status_; }
  int64_t consumed_bytes() const { return stream_->consumed_bytes(); }

 private:
  bool Fill();

  std::unique_ptr<ByteStream> stream_;
  std::unique_ptr<char[]> buffer_;  // not zeroed: most of it is overwritten at once
  size_t position_ = 0, size_ = 0;
  std::string long_line_;  // of a line that does not lie in one buffer
  int64_t line_ = 1;
  bool at_start_ = true;
  absl::Status status_;
};

}  // namespace ftd
