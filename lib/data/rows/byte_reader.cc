#include "lib/data/rows/byte_reader.h"

#include <cstring>
#include <memory>

#include "lib/data/rows/row_reader.h"

namespace ftd {
namespace {

constexpr size_t kBufferBytes = 64 << 10;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace

ByteReader::ByteReader(std::unique_ptr<ByteStream> stream)
    : stream_(std::move(stream)), buffer_(std::make_unique_for_overwrite<char[]>(kBufferBytes)) {}

// Requires: all bytes were taken. Views of the buffer end here.
bool ByteReader::Fill() {
  if (!status_.ok()) return false;
  position_ = size_ = 0;
  do {  // the first time, enough to see a byte order mark
    const auto n = stream_->Read(buffer_.get() + size_, kBufferBytes - size_);
    if (!n.ok()) {
      status_ = n.status();
      size_ = 0;
      return false;
    }
    if (*n == 0) break;
    size_ += *n;
  } while (at_start_ && size_ < kByteOrderMark.size());
  if (at_start_ && std::string_view(buffer_.get(), size_).starts_with(kByteOrderMark)) {
    // A mark alone says nothing; read on.
    position_ = kByteOrderMark.size();
    at_start_ = false;
    return position_ < size_ || Fill();
  }
  at_start_ = false;
  return size_ > 0;
}

// A line within the buffer is a view of it. Only a line that reaches over its end is copied.
bool ByteReader::GetLine(std::string_view* line) {
  if (Peek() == kEnd) return false;
  long_line_.clear();
  while (true) {
    const char* begin = buffer_.get() + position_;
    const void* newline = std::memchr(begin, '\n', size_ - position_);
    const size_t length =
        newline == nullptr ? size_ - position_ : static_cast<const char*>(newline) - begin;
    position_ += length + (newline == nullptr ? 0 : 1);
    line_ += newline == nullptr ? 0 : 1;
    if (newline != nullptr && long_line_.empty()) {
      *line = {begin, length};
      return true;
    }
    long_line_.append(begin, length);
    // One row must not take the host's memory; a file without any line break would.
    if (static_cast<int64_t>(long_line_.size()) > kMaxRowBytes) {
      status_ = absl::OutOfRangeError("the line is too long");
      return false;
    }
    if (newline != nullptr || !Fill()) break;
  }
  *line = long_line_;
  return status_.ok();
}

}  // namespace ftd
