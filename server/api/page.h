// Pages of lists: what fits into an answer, and the token that continues it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "google/protobuf/repeated_field.h"

namespace ftd {

// An answer has to fit into 4 MiB, gRPC's limit for a client that sets none. The largest item that
// is added to a page is a job with a spec of kMaxSpecBytes.
inline constexpr size_t kPageBytes = 3 << 20;

// Fills an answer's list with what fits.
template <typename Item>
class Page {
 public:
  // `list` must outlive it.
  explicit Page(google::protobuf::RepeatedPtrField<Item>* list) : list_(list) {}

  // False, and nothing is added, if the page is full. The first item always fits.
  bool Add(Item item) {
    bytes_ += item.ByteSizeLong();
    if (bytes_ > kPageBytes && !list_->empty()) return false;
    *list_->Add() = std::move(item);
    return true;
  }

 private:
  google::protobuf::RepeatedPtrField<Item>* const list_;
  size_t bytes_ = 0;
};

// Names a position in the list that `filter` describes. Opaque to clients.
std::string EncodePageToken(int64_t position, const std::string& filter);

// `first` for an empty token. INVALID_ARGUMENT FIELD_INVALID for one of another list.
absl::StatusOr<int64_t> DecodePageToken(const std::string& token, const std::string& filter,
                                        int64_t first);

}  // namespace ftd
