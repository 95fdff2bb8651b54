// Tokenises a dataset on all threads, streaming from its reader into a store.
#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "lib/data/dataset_reader.h"
#include "lib/data/row_encoder.h"
#include "lib/data/row_tally.h"
#include "lib/data/token_store.h"

namespace ftd {

// Reads on the calling thread, renders and encodes on `threads` others, appends in the rows' order;
// a bounded number of rows is under way. `go_on` is called now and then from the calling thread;
// when it returns false the work stops with CANCELLED. Errors: the reader's and the store's.
absl::StatusOr<RowTally> TokenizeRows(DatasetReader& reader, const RowEncoder& encoder, int threads,
                                      TokenStoreWriter& store, const std::function<bool()>& go_on);

}  // namespace ftd
