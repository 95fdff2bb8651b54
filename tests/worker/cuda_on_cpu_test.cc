// The CUDA kernels' own source, run on the CPU by cuda_on_cpu, with the threads of a block in three
// orders: a missing barrier, an index too far or a misaligned access fails here, without a GPU.

#include <ATen/ATen.h>
#include <sys/mman.h>
#include <unistd.h>

#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda_on_cpu.h"
#include "gtest/gtest.h"
#include "kernel_cases.h"
#include "worker/engine/cuda/loss_tile.h"
#include "worker/engine/cuda/nf4.h"
#include "worker/engine/nf4.h"

namespace ftd::engine {
namespace {

using cuda_on_cpu::Order;

constexpr int64_t kBlock = 64;  // elements that share a scale in NF4
constexpr Order kOrders[] = {Order::kAscending, Order::kDescending, Order::kShuffled};

cuda::Type TypeOf(at::ScalarType type) {
  if (type == at::kBFloat16) return cuda::Type::kBfloat16;
  return type == at::kHalf ? cuda::Type::kFloat16 : cuda::Type::kFloat32;
}

// A contiguous copy that ends where memory ends, so one element further is a fault.
at::Tensor Fenced(const at::Tensor& tensor) {
  const auto page = static_cast<size_t>(getpagesize());
  const size_t bytes = tensor.nbytes(), room = (bytes + page - 1) / page * page;
  void* base =
      mmap(nullptr, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED || mprotect(static_cast<char*>(base) + room, page, PROT_NONE) != 0)
    throw std::runtime_error("no memory for a fenced tensor");
  at::Tensor fenced = at::from_blob(
      static_cast<char*>(base) + room - bytes, tensor.sizes(),
      [base, room, page](void*) { munmap(base, room + page); }, tensor.options());
  return fenced.copy_(tensor);
}

TEST(CudaOnCpuTest, QuantisedBytesAreTheCpus) {
  at::manual_seed(1);
  size_t turn = 0;
  for (const auto& [rows, cols] : kSmallMatrices) {
    for (const auto& [name, values] : Fillings(rows, cols)) {
      for (const at::ScalarType dtype : kKernelDtypes) {
        for (const at::ScalarType rounding : kKernelDtypes) {
          SCOPED_TRACE(name + " " + std::to_string(rows) + "x" + std::to_string(cols) + " " +
                       c10::toString(dtype) + " as " + c10::toString(rounding));
          const at::Tensor weight = values.to(dtype);
          const Nf4Tensor host = QuantizeNf4(weight, rounding);
          const int64_t count = weight.numel(), blocks = host.absmax.numel();
          // The largest of each block; that of a last, shorter one has a floor.
          at::Tensor scales =
              at::constant_pad_nd(weight.to(rounding).to(at::kFloat).flatten().abs(),
                                  {0, blocks * kBlock - count})
                  .view({blocks, kBlock})
                  .amax(1);
          if (count % kBlock != 0) scales.narrow(0, blocks - 1, 1).clamp_min_(1e-38F);
          cuda_on_cpu::SetOrder(kOrders[turn++ % std::size(kOrders)]);
          const at::Tensor codes = Fenced(at::full_like(host.codes, 0xEE));
          const at::Tensor absmax = Fenced(at::full_like(scales, -1));
          ASSERT_EQ(cuda::QuantizeNf4(Fenced(weight).const_data_ptr(), TypeOf(dtype),
                                      TypeOf(rounding), count, codes.mutable_data_ptr<uint8_t>(),
                                      absmax.mutable_data_ptr<float>(), nullptr),
                    nullptr);
          EXPECT_TRUE(SameBytes(codes, host.codes));
          EXPECT_TRUE(SameBytes(absmax, scales));
        }
      }
    }
  }
}

// To contiguous `out`; what is read besides the codes is fenced.
void Dequantize(const Nf4Tensor& q, const at::Tensor& out) {
  const at::Tensor absmax = Fenced(q.absmax), nested_absmax = Fenced(q.nested_absmax),
                   map = Fenced(q.nested_map);
  cuda::Nf4Pointers pointers{};
  pointers.codes = q.codes.const_data_ptr<uint8_t>();
  if (q.absmax.scalar_type() == at::kByte) {
    pointers.absmax = absmax.const_data_ptr<uint8_t>();
    pointers.nested_absmax = nested_absmax.const_data_ptr<float>();
    pointers.nested_map = map.const_data_ptr<float>();
    pointers.nested_offset = q.nested_offset;
  } else {
    pointers.scales = absmax.const_data_ptr<float>();
  }
  ASSERT_EQ(cuda::DequantizeNf4(pointers, out.mutable_data_ptr(), TypeOf(out.scalar_type()),
                                out.numel(), nullptr),
            nullptr);
}

TEST(CudaOnCpuTest, DequantisedValuesAreTheCpus) {
  at::manual_seed(2);
  for (const auto& [rows, cols] : kSmallMatrices) {
    for (const auto& [name, values] : Fillings(rows, cols)) {
      const Nf4Tensor nested = QuantizeNf4(values, at::kFloat);
      Nf4Tensor plain = nested;  // scales that are not quantised again
      plain.absmax = at::rand({nested.absmax.numel()});
      for (const Nf4Tensor& q : {nested, plain}) {
        Nf4Tensor with_fenced_codes = q;
        with_fenced_codes.codes = Fenced(q.codes);
        for (const at::ScalarType dtype : kKernelDtypes) {
          const at::Tensor host = at::empty({rows, cols}, dtype);
          DequantizeNf4(q, host);
          for (const Order order : kOrders) {
            SCOPED_TRACE(name + " " + std::to_string(rows) + "x" + std::to_string(cols) + " " +
                         c10::toString(dtype));
            cuda_on_cpu::SetOrder(order);
            const at::Tensor fenced = Fenced(at::full_like(host, 7));
            Dequantize(with_fenced_codes, fenced);
            EXPECT_TRUE(SameBytes(fenced, host));
            // Aligned to vectors, with room behind that must stay as it is.
            const at::Tensor room = at::full({host.numel() + 8}, 7, dtype);
            Dequantize(q, room.narrow(0, 0, host.numel()));
            EXPECT_TRUE(SameBytes(room.narrow(0, 0, host.numel()), host.flatten()));
            EXPECT_TRUE(room.narrow(0, host.numel(), 8).eq(7).all().item<bool>());
          }
        }
      }
    }
  }
}

// The tile in each order of threads, which must agree to the bit.
Tile LossTile(const at::Tensor& logits, const at::Tensor& targets) {
  std::vector<Tile> tiles;
  for (const Order order : kOrders) {
    cuda_on_cpu::SetOrder(order);
    const at::Tensor tile = Fenced(logits), labels = Fenced(targets);
    const at::Tensor sums = Fenced(at::full({logits.size(0), cuda::kRowSums}, -1.0F));
    EXPECT_EQ(cuda::LossTile(tile.mutable_data_ptr(), TypeOf(logits.scalar_type()),
                             labels.const_data_ptr<int64_t>(), logits.size(0),
                             static_cast<int32_t>(logits.size(1)), sums.mutable_data_ptr<float>(),
                             nullptr),
              nullptr);
    tiles.push_back({tile, sums.sum(0, /*keepdim=*/false, at::kDouble)});
    EXPECT_TRUE(SameBytes(tiles.back().gradient, tiles.front().gradient));
    EXPECT_TRUE(SameBytes(tiles.back().sums, tiles.front().sums));
  }
  return tiles.front();
}

class LossTileOnCpuTest : public ::testing::TestWithParam<int64_t> {};

TEST_P(LossTileOnCpuTest, EqualsTheDefinitions) {
  at::manual_seed(3);
  TileEqualsTheDefinitions(LossTile, GetParam());
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, LossTileOnCpuTest, ::testing::ValuesIn(kVocabularies));

TEST(CudaOnCpuTest, LossTileOfOddRows) {
  at::manual_seed(4);
  OfEquallyLikelyTokensTheFirstCounts(LossTile);
  MinusInfinityCountsForNothing(LossTile);
  NotANumberIsSeen(LossTile);
}

}  // namespace
}  // namespace ftd::engine
