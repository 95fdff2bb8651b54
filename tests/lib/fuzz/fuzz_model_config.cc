// Any bytes as a model's config.json. What is accepted has sizes that the rest of ftd can work
// with.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "lib/base/utf8.h"
#include "lib/model/architecture.h"
#include "lib/model/model_config.h"

namespace {

void Check(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto config = ftd::ParseModelConfig({reinterpret_cast<const char*>(data), size});
  if (!config.ok()) {
    const auto message = config.status().message();
    Check(!message.empty() && ftd::IsValidUtf8({message.data(), message.size()}));
    return 0;
  }
  Check(config->vocab_size > 0 && config->hidden_size > 0);
  int64_t parameters = 0;
  // A model of very many layers is not looked at to its end.
  (void)ftd::VisitParameters(*config, [&](const ftd::ParameterInfo& parameter) {
    for (const ftd::TensorInfo& tensor : parameter.tensors) {
      for (const int64_t length : tensor.shape) Check(length > 0);
    }
    return ++parameters < 1000 ? absl::OkStatus() : absl::CancelledError("enough");
  });
  Check(parameters > 0);
  return 0;
}
