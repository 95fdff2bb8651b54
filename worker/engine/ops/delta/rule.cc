#include "worker/engine/ops/delta/rule.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linalg_solve_triangular.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <utility>

namespace ftd::engine {
namespace {

at::Tensor Transposed(const at::Tensor& x) { return x.transpose(-1, -2); }

// Returns, of each number along the last axis, the sum up to it, or from it on. By products,
// because cumsum of floating-point numbers is not deterministic on a GPU.
at::Tensor SumsUpTo(const at::Tensor& x) {
  return at::matmul(x, at::ones({x.size(-1), x.size(-1)}, x.options()).triu());
}
at::Tensor SumsFrom(const at::Tensor& x) {
  return at::matmul(x, at::ones({x.size(-1), x.size(-1)}, x.options()).tril());
}

// Returns Σ x ∘ y over the last axis.
at::Tensor Dot(const at::Tensor& x, const at::Tensor& y) { return (x * y).sum(-1); }

// What each chunk has by itself. With c the sum of g from the chunk's first token on and
// Γ_ij = e^(c_i − c_j) for j ≤ i, else 0:
//   M = strict lower(β_i Γ_ij k_iᵀ k_j)   A = Γ ∘ q kᵀ
//   U = (I + M)⁻¹ (β v)                    W = (I + M)⁻¹ (β e^c k)
// U is what the tokens write where the state before them is zero; W what of that state they take
// off.
struct Within {
  at::Tensor growth;      // e^c [n, K, r, C]
  at::Tensor to_end;      // e^(c_C − c) [n, K, r, C]
  at::Tensor between;     // Γ [n, K, r, C, C]
  at::Tensor similarity;  // Γ ∘ k kᵀ [n, K, r, C, C]
  at::Tensor system;      // M, with numbers above the diagonal and on it that do not count
  at::Tensor attention;   // A [n, K, r, C, C]
  at::Tensor solved;      // U and W side by side [n, K, r, C, Hv + Hk]
  at::Tensor query, key;  // e^c q and e^(c_C − c) k [n, K, r, C, Hk]
};

Within MakeWithin(const DeltaInput& x) {
  Within w;
  const int64_t C = x.g.size(-1);
  const at::Tensor c = SumsUpTo(x.g);
  w.growth = c.exp();
  w.to_end = (c.narrow(-1, C - 1, 1) - c).exp_();
  const at::Tensor later = at::ones({C, C}, c.options().dtype(at::kBool)).triu(1);
  // −∞ before the exponential, which would overflow for later tokens.
  w.between = (c.unsqueeze(-1) - c.unsqueeze(-2)).masked_fill_(later, -INFINITY).exp_();
  w.similarity = w.between * at::matmul(x.k, Transposed(x.k));
  w.system = w.similarity * x.beta.unsqueeze(-1);
  w.attention = w.between * at::matmul(x.q, Transposed(x.k));
  w.solved = at::linalg_solve_triangular(
      w.system, at::cat({x.v * x.beta.unsqueeze(-1), x.k * (x.beta * w.growth).unsqueeze(-1)}, -1),
      /*upper=*/false, /*left=*/true, /*unitriangular=*/true);
  w.query = x.q * w.growth.unsqueeze(-1);
  w.key = x.k * w.to_end.unsqueeze(-1);
  return w;
}

// Returns the chunks [count, K·r, ..] of x [n, K, r, ..] from the first on; a view.
at::Tensor Stretch(const at::Tensor& x, int64_t first, int64_t count) {
  return x.narrow(0, first, count).flatten(1, 2);
}

// What passes from chunk to chunk.
struct Across {
  at::Tensor states;   // S before each chunk [n, K, r, Hk, Hv]
  at::Tensor written;  // V = U − W S, what the tokens write [n, K, r, C, Hv]
};

// From S before a chunk to S after it: e^(c_C) S + (e^(c_C − c) k)ᵀ V. A document's last is at its
// end, which `ends` gets unless it is null.
Across MakeAcross(const DeltaInput& x, const Chunks& chunks, const Within& w,
                  at::Tensor* ends = nullptr) {
  const int64_t n = x.v.size(0), K = x.v.size(1), r = x.v.size(2), C = x.v.size(3),
                Hk = x.k.size(-1), Hv = x.v.size(-1);
  const at::Tensor U = w.solved.narrow(-1, 0, Hv), W = w.solved.narrow(-1, Hv, Hk),
                   decay = w.growth.narrow(-1, C - 1, 1).unsqueeze(-1);
  Across a{at::empty({n, K, r, Hk, Hv}, x.v.options()), at::empty_like(x.v)};
  at::Tensor S = at::zeros({chunks.counts[0], K * r, Hk, Hv}, x.v.options());
  if (ends != nullptr) *ends = at::empty_like(S);
  int64_t first = 0;
  for (const int64_t count : chunks.counts) {
    S = S.narrow(0, 0, count);  // of the documents that go on
    Stretch(a.states, first, count).copy_(S);
    const at::Tensor V = Stretch(U, first, count) - at::matmul(Stretch(W, first, count), S);
    Stretch(a.written, first, count).copy_(V);
    S = S * Stretch(decay, first, count) + at::matmul(Transposed(Stretch(w.key, first, count)), V);
    if (ends != nullptr) ends->narrow(0, 0, count).copy_(S);
    first += count;
  }
  return a;
}

// The gradients of the states, from the last chunk to the first; with dS' that of the state after a
// chunk, which is zero after a document's last:
//   dV = Aᵀ do + (e^(c_C − c) k) dS'
//   dS = e^(c_C) dS' + (e^c q)ᵀ do − Wᵀ dV
struct AcrossGradients {
  at::Tensor after;    // dS' [n, K, r, Hk, Hv]
  at::Tensor written;  // dV [n, K, r, C, Hv]
};

AcrossGradients GoBack(const DeltaInput& x, const Chunks& chunks, const Within& w,
                       const Across& across, const at::Tensor& d_o) {
  const int64_t C = x.v.size(3), Hk = x.k.size(-1), Hv = x.v.size(-1);
  const at::Tensor W = w.solved.narrow(-1, Hv, Hk),
                   decay = w.growth.narrow(-1, C - 1, 1).unsqueeze(-1);
  AcrossGradients d{at::empty_like(across.states), at::matmul(Transposed(w.attention), d_o)};
  at::Tensor all = at::zeros({chunks.counts[0], x.v.size(1) * x.v.size(2), Hk, Hv}, x.v.options());
  int64_t first = chunks.total;
  for (size_t i = chunks.counts.size(); i-- > 0;) {
    const int64_t count = chunks.counts[i];
    first -= count;
    at::Tensor dS = all.narrow(0, 0, count);
    Stretch(d.after, first, count).copy_(dS);
    at::Tensor dV = Stretch(d.written, first, count);
    dV.add_(at::matmul(Stretch(w.key, first, count), dS));
    dS.mul_(Stretch(decay, first, count))
        .add_(at::matmul(Transposed(Stretch(w.query, first, count)), Stretch(d_o, first, count)))
        .sub_(at::matmul(Transposed(Stretch(W, first, count)), dV));
  }
  return d;
}

// The sum over the value heads that share a key head [.., K, 1, ..].
at::Tensor OverSharers(const at::Tensor& x) { return x.sum(2, /*keepdim=*/true); }

// Adds to dc, the gradient of c, what comes of P = Γ ∘ .., from dP ∘ P: of row i as e^(c_i), of
// column j as e^(−c_j).
void AddOfPairs(at::Tensor& dc, const at::Tensor& product) {
  dc.add_(product.sum(-1)).sub_(product.sum(-2));
}

// The gradients that the steps below add up: of the input, where g is not yet that of the decays
// but of their sums c, wherever an exponential of them stands.
struct Gradients {
  DeltaInput of;
  at::Tensor& c() { return of.g; }
};

// What goes through the queries that read the state, the keys that write it, and its decay. Sets
// the gradients of q, k and c.
void ThroughStates(const DeltaInput& x, const Within& w, const Across& across,
                   const AcrossGradients& d, const at::Tensor& d_o, Gradients* sum) {
  const int64_t last = x.v.size(3) - 1;
  {
    const at::Tensor d_query = at::matmul(d_o, Transposed(across.states));
    sum->c() = Dot(d_query, w.query);
    sum->of.q = OverSharers(d_query * w.growth.unsqueeze(-1));
  }
  const at::Tensor d_key = at::matmul(across.written, Transposed(d.after));
  const at::Tensor of_key = Dot(d_key, w.key);
  sum->of.k = OverSharers(d_key * w.to_end.unsqueeze(-1));
  sum->c().sub_(of_key);
  at::Tensor of_end = (d.after * across.states).sum({-2, -1}).mul_(w.growth.select(-1, last));
  sum->c().select(-1, last).add_(of_end.add_(of_key.sum(-1)));
}

// The gradient of the system's right side R, from that of its solution Y = (I + M)⁻¹ R:
//   dR = (I + M)⁻ᵀ dY
at::Tensor OfRightSide(const Within& w, const Across& across, const AcrossGradients& d) {
  const at::Tensor d_solved =
      at::cat({d.written, at::matmul(d.written, Transposed(across.states)).neg_()}, -1);
  return at::linalg_solve_triangular(Transposed(w.system), d_solved, /*upper=*/true,
                                     /*left=*/true, /*unitriangular=*/true);
}

// What goes through the system: sets the gradients of v and β, adds to those of k and c. Returns
//   dM = −dR Yᵀ below the diagonal
at::Tensor ThroughSystem(const DeltaInput& x, const Within& w, const Across& across,
                         const AcrossGradients& d, Gradients* sum) {
  const int64_t Hk = x.k.size(-1), Hv = x.v.size(-1);
  const at::Tensor d_right = OfRightSide(w, across, d);
  const at::Tensor dv = d_right.narrow(-1, 0, Hv), dk = d_right.narrow(-1, Hv, Hk);
  at::Tensor d_system = at::matmul(d_right, Transposed(w.solved)).neg_().tril_(-1);
  const at::Tensor strength = (x.beta * w.growth).unsqueeze(-1);
  sum->of.v = dv * x.beta.unsqueeze(-1);
  sum->of.beta = Dot(dv, x.v);
  sum->of.k.add_(OverSharers(dk * strength));
  const at::Tensor of_read = Dot(dk, x.k).mul_(w.growth);  // of β e^c k, but for β
  sum->of.beta.add_(of_read).add_(Dot(d_system, w.similarity));
  sum->c().add_(of_read * x.beta);
  return d_system;
}

// What goes through the products of pairs of tokens: adds to the gradients of q, k and c.
void ThroughPairs(const DeltaInput& x, const Within& w, const Across& across, const at::Tensor& d_o,
                  at::Tensor d_system, Gradients* sum) {
  AddOfPairs(sum->c(), d_system * w.system);
  const at::Tensor of_keys = OverSharers(d_system.mul_(x.beta.unsqueeze(-1)).mul_(w.between));
  sum->of.k.add_(at::matmul(of_keys + Transposed(of_keys), x.k));
  d_system.reset();
  at::Tensor d_attention = at::matmul(d_o, Transposed(across.written)).tril_();
  AddOfPairs(sum->c(), d_attention * w.attention);
  const at::Tensor of_queries = OverSharers(d_attention.mul_(w.between));
  sum->of.k.add_(at::matmul(Transposed(of_queries), x.q));
  sum->of.q.add_(at::matmul(of_queries, x.k));
}

}  // namespace

at::Tensor DeltaRuleForward(const DeltaInput& x, const Chunks& chunks, at::Tensor* ends) {
  const Within w = MakeWithin(x);
  const Across a = MakeAcross(x, chunks, w, ends);
  return at::matmul(w.query, a.states).add_(at::matmul(w.attention, a.written));
}

DeltaInput DeltaRuleBackward(const DeltaInput& x, const Chunks& chunks, const at::Tensor& d_o) {
  const Within w = MakeWithin(x);
  const Across across = MakeAcross(x, chunks, w);
  const AcrossGradients d = GoBack(x, chunks, w, across, d_o);
  Gradients sum;
  ThroughStates(x, w, across, d, d_o, &sum);
  at::Tensor d_system = ThroughSystem(x, w, across, d, &sum);
  ThroughPairs(x, w, across, d_o, std::move(d_system), &sum);
  // g_t is in c_i for all i ≥ t.
  sum.of.g = SumsFrom(sum.c());
  return std::move(sum.of);
}

}  // namespace ftd::engine
