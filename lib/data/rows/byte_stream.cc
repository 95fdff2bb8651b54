#include "lib/data/rows/byte_stream.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/data/rows/row.h"

namespace ftd {
namespace {

constexpr size_t kChunk = 128 << 10;
constexpr std::string_view kGzipMagic = "\x1f\x8b", kZstdMagic = "\x28\xb5\x2f\xfd";

// Reads ahead by the kernel: files are read from their start to their end, once.
class FileStream : public ByteStream {
 public:
  FileStream(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {
    ::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  }
  absl::StatusOr<size_t> Read(char* buffer, size_t size) override {
    ssize_t n = 0;
    do {
      n = ::read(fd_.get(), buffer, size);
    } while (n < 0 && errno == EINTR);
    if (n < 0) return ErrnoError(errno, Concat("read ", path_));
    consumed_ += n;
    return static_cast<size_t>(n);
  }
  int64_t consumed_bytes() const override { return consumed_; }

 private:
  Fd fd_;
  std::string path_;
  int64_t consumed_ = 0;
};

class MemoryStream : public ByteStream {
 public:
  explicit MemoryStream(std::string_view bytes) : bytes_(bytes) {}
  absl::StatusOr<size_t> Read(char* buffer, size_t size) override {
    const size_t n = std::min(size, bytes_.size() - position_);
    std::memcpy(buffer, bytes_.data() + position_, n);
    position_ += n;
    return n;
  }
  int64_t consumed_bytes() const override { return static_cast<int64_t>(position_); }

 private:
  std::string_view bytes_;
  size_t position_ = 0;
};

// Gives the first bytes of a stream, read to know what it is, and then the rest of it.
class PeekedStream : public ByteStream {
 public:
  explicit PeekedStream(std::unique_ptr<ByteStream> rest) : rest_(std::move(rest)) {}

  absl::StatusOr<std::string_view> Peek(size_t count) {
    while (head_.size() < count) {
      char buffer[16];
      FTD_ASSIGN_OR_RETURN(const size_t n, rest_->Read(buffer, count - head_.size()));
      if (n == 0) break;
      head_.append(buffer, n);
    }
    return std::string_view(head_);
  }
  absl::StatusOr<size_t> Read(char* buffer, size_t size) override {
    if (position_ == head_.size()) return rest_->Read(buffer, size);
    const size_t n = std::min(size, head_.size() - position_);
    std::memcpy(buffer, head_.data() + position_, n);
    position_ += n;
    return n;
  }
  int64_t consumed_bytes() const override { return rest_->consumed_bytes(); }

 private:
  std::unique_ptr<ByteStream> rest_;
  std::string head_;
  size_t position_ = 0;
};

// The part that both decompressors share: a chunk of compressed bytes that is refilled when it is
// used up.
class CompressedStream : public ByteStream {
 public:
  CompressedStream(std::unique_ptr<ByteStream> source, std::string name)
      : source_(std::move(source)), name_(std::move(name)), chunk_(kChunk) {}
  int64_t consumed_bytes() const override { return source_->consumed_bytes(); }

 protected:
  // Returns whether there are compressed bytes at input_.
  absl::StatusOr<bool> HaveInput() {
    if (input_size_ > 0) return true;
    FTD_ASSIGN_OR_RETURN(input_size_, source_->Read(chunk_.data(), chunk_.size()));
    input_ = chunk_.data();
    return input_size_ > 0;
  }
  absl::Status Damaged(std::string_view what) const {
    return DatasetInvalid(Concat(name_, ": ", what, "; make the file again, or send it again"));
  }

  const char* input_ = nullptr;
  size_t input_size_ = 0;

 private:
  std::unique_ptr<ByteStream> source_;
  std::string name_;
  std::vector<char> chunk_;
};

// One or more gzip members, as pigz and `cat` make them.
class GzipStream : public CompressedStream {
 public:
  using CompressedStream::CompressedStream;
  ~GzipStream() override {
    if (initialized_) ::inflateEnd(&zlib_);
  }
  absl::StatusOr<size_t> Read(char* buffer, size_t size) override {
    zlib_.next_out = reinterpret_cast<Bytef*>(buffer);
    zlib_.avail_out = static_cast<uInt>(std::min(size, kChunk));
    const uInt wanted = zlib_.avail_out;
    // Until there is output: 0 would mean the end.
    while (zlib_.avail_out == wanted) {
      FTD_ASSIGN_OR_RETURN(const bool more, HaveInput());
      // Zeros that fill up the last block of a tape or an object store, as gzip itself takes them.
      if (more && !in_member_ && initialized_ && *input_ == '\0') {
        ++input_;
        --input_size_;
        continue;
      }
      if (!more) {
        // The end of the file within a member: the download or the copy was cut short.
        if (in_member_) return Damaged("the gzip data is cut short");
        return size_t{0};
      }
      FTD_RETURN_IF_ERROR(Inflate());
    }
    return wanted - zlib_.avail_out;
  }

 private:
  absl::Status Inflate() {
    // A new member begins, or the first. inflateReset keeps the window's memory.
    if (!in_member_) {
      constexpr int kGzipOnly = 16 + MAX_WBITS;
      const int started = initialized_ ? ::inflateReset(&zlib_) : ::inflateInit2(&zlib_, kGzipOnly);
      if (started != Z_OK) return absl::ResourceExhaustedError("no memory for inflate");
      initialized_ = in_member_ = true;
    }
    zlib_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input_));
    zlib_.avail_in = static_cast<uInt>(input_size_);
    const int result = ::inflate(&zlib_, Z_NO_FLUSH);
    input_ = reinterpret_cast<const char*>(zlib_.next_in);
    input_size_ = zlib_.avail_in;
    if (result == Z_STREAM_END) in_member_ = false;
    if (result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR) return absl::OkStatus();
    return Damaged("the gzip data is damaged");
  }

  z_stream zlib_ = {};
  bool initialized_ = false;
  bool in_member_ = false;
};

class ZstdStream : public CompressedStream {
 public:
  using CompressedStream::CompressedStream;
  absl::StatusOr<size_t> Read(char* buffer, size_t size) override {
    if (context_ == nullptr) return absl::ResourceExhaustedError("no memory for zstd");
    ZSTD_outBuffer out = {buffer, size, 0};
    while (out.pos == 0) {
      // A frame that is not at its end may still hold output after all input has been taken.
      FTD_ASSIGN_OR_RETURN(const bool more, HaveInput());
      if (!more && !in_frame_) return size_t{0};
      ZSTD_inBuffer in = {input_, input_size_, 0};
      const size_t result = ::ZSTD_decompressStream(context_.get(), &out, &in);
      if (::ZSTD_isError(result) != 0) {
        return Damaged(Concat("the zstd data is damaged (", ::ZSTD_getErrorName(result), ")"));
      }
      input_ += in.pos;
      input_size_ -= in.pos;
      in_frame_ = result != 0;
      if (!more && out.pos == 0) return Damaged("the zstd data is cut short");
    }
    return out.pos;
  }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ::ZSTD_freeDCtx(context); }
  };
  std::unique_ptr<ZSTD_DCtx, Free> context_{::ZSTD_createDCtx()};
  bool in_frame_ = false;
};

absl::StatusOr<std::unique_ptr<ByteStream>> Decompressed(std::unique_ptr<ByteStream> raw,
                                                         const std::string& name) {
  // The bytes decide, not the name: a .json file that is gzip data is read as such.
  auto peeked = std::make_unique<PeekedStream>(std::move(raw));
  FTD_ASSIGN_OR_RETURN(const std::string_view head, peeked->Peek(kZstdMagic.size()));
  if (head.starts_with(kGzipMagic)) return std::make_unique<GzipStream>(std::move(peeked), name);
  if (head.starts_with(kZstdMagic)) return std::make_unique<ZstdStream>(std::move(peeked), name);
  const Compression promised = CompressionOfName(name);
  if (promised == Compression::kNone) return std::unique_ptr<ByteStream>(std::move(peeked));
  const char* what = promised == Compression::kGzip ? "gzip" : "zstd";
  return DatasetInvalid(Concat(name, ": is named as ", what, " data but holds none; download or ",
                               "compress it again"));
}

// Text of PowerShell's > or Excel is UTF-16, and begins with a byte order mark; other text of the
// kind has a zero beside its first letter. No UTF-8 text has either.
absl::StatusOr<std::unique_ptr<ByteStream>> ThatIsUtf8(
    absl::StatusOr<std::unique_ptr<ByteStream>> stream, const std::string& name) {
  FTD_RETURN_IF_ERROR(stream.status());
  auto peeked = std::make_unique<PeekedStream>(*std::move(stream));
  FTD_ASSIGN_OR_RETURN(const std::string_view head, peeked->Peek(4));
  const bool marked = head.starts_with("\xFF\xFE") || head.starts_with("\xFE\xFF");
  const bool zeros = head.size() >= 2 && (head[0] == '\0') != (head[1] == '\0');
  if (!marked && !zeros) return std::unique_ptr<ByteStream>(std::move(peeked));
  const bool wide = head.size() == 4 &&
                    ((head[2] == '\0' && head[3] == '\0') || (head[0] == '\0' && head[1] == '\0'));
  return DatasetInvalid(Concat(name, ": the text is UTF-", wide ? "32" : "16",
                               ", and ftd reads UTF-8; save it as UTF-8, or run iconv -f UTF-",
                               wide ? "32" : "16", " -t UTF-8"));
}

}  // namespace

Compression CompressionOfName(std::string_view name) {
  if (name.ends_with(".gz")) return Compression::kGzip;
  return name.ends_with(".zst") ? Compression::kZstd : Compression::kNone;
}

std::string_view WithoutCompression(std::string_view name) {
  if (CompressionOfName(name) == Compression::kNone) return name;
  return name.substr(0, name.rfind('.'));
}

absl::StatusOr<std::unique_ptr<ByteStream>> OpenByteStream(const std::filesystem::path& path,
                                                           const std::string& name) {
  FTD_ASSIGN_OR_RETURN(Fd fd, OpenFile(path, O_RDONLY));
  return ThatIsUtf8(Decompressed(std::make_unique<FileStream>(std::move(fd), path.string()), name),
                    name);
}

absl::StatusOr<std::unique_ptr<ByteStream>> OpenByteStreamInMemory(std::string_view bytes,
                                                                   const std::string& name) {
  return ThatIsUtf8(Decompressed(std::make_unique<MemoryStream>(bytes), name), name);
}

}  // namespace ftd
