#include "worker/engine/model/decoder_layer.h"

#include <ATen/TensorOperators.h>

#include "worker/engine/model/mixer.h"
#include "worker/engine/ops/glu/glu.h"

namespace ftd::engine {
namespace {

// The four maps of a layer, numbered for the counters of their dropout masks.
enum Map : uint64_t { kQkv, kO, kGateUp, kDown };

// Returns the masks of one map; 4 · layer + map is distinct for each map of the model.
Dropout DropoutOf(const BatchContext& context, int64_t layer, Map map) {
  return {context.dropout, context.dropout_seed, static_cast<uint32_t>(layer * 4 + map)};
}

// Returns the norm of x, or x itself where the layer has none.
at::Tensor NormedInput(const Parameter& norm, const BatchContext& context, const at::Tensor& x,
                       NormSaved* saved) {
  if (!norm.value.defined()) return x;
  return RmsNormForward(x, NormWeightOf(norm, context), context.eps, saved);
}

// Returns x + m · norm(branch). `branch` is a block's fresh output, and may be overwritten.
at::Tensor AddBranch(const Parameter& norm, const BatchContext& context, at::Tensor branch,
                     const at::Tensor& x, BranchSaved* saved) {
  if (norm.value.defined()) {
    saved->x = branch;
    branch = RmsNormForward(branch, NormWeightOf(norm, context), context.eps, &saved->norm);
  }
  if (context.residual_multiplier != 1) branch.mul_(context.residual_multiplier);
  return branch.add_(x);
}

// Returns the gradient of the block's output from dy, that of the sum.
at::Tensor BranchBackward(Parameter& norm, const BatchContext& context, const BranchSaved& saved,
                          const at::Tensor& dy) {
  at::Tensor grad = dy;
  if (context.residual_multiplier != 1) grad = grad * context.residual_multiplier;
  if (!norm.value.defined()) return grad;
  return RmsNormBackward(saved.x, NormWeightOf(norm, context), saved.norm, grad, /*residual=*/{},
                         norm.FreshGrad());
}

// Computes the layer up to the input of its last projection, which it returns:
//   h       = x + m · norm(mixer(norm1(x) W_qkvᵀ) W_oᵀ)   [T, D]
//   gate_up = norm2(h) W_gate_upᵀ                         [T, 2F]
//   product = act(gate) ∘ up                              [T, F]
// One variable holds both norms' outputs in turn, so the first is free once the second exists,
// unless `keep_inputs` asks for it.
at::Tensor ForwardToProduct(const DecoderLayer& layer, int64_t index, const BatchContext& context,
                            bool keep_inputs, DecoderLayerSaved* saved) {
  at::Tensor normed = NormedInput(layer.attention_input_norm, context, saved->x, &saved->norm1);
  if (keep_inputs) saved->normed1 = normed;
  at::Tensor mixed = MixerForward(
      layer, index, context,
      LinearForward(layer.qkv, normed, DropoutOf(context, index, kQkv), &saved->qkv_lora), saved);
  saved->h = AddBranch(layer.attention_output_norm, context,
                       LinearForward(layer.o, mixed, DropoutOf(context, index, kO), &saved->o_lora),
                       saved->x, &saved->attention_branch);
  mixed.reset();
  normed = NormedInput(layer.mlp_input_norm, context, saved->h, &saved->norm2);
  saved->gate_up = LinearForward(layer.gate_up, normed, DropoutOf(context, index, kGateUp),
                                 &saved->gate_up_lora);
  if (keep_inputs) saved->normed2 = normed;
  return GluForward(saved->gate_up, context.activation);
}

// Returns a map's input: x, or its norm, kept or to be made again.
LinearInput InputOf(const at::Tensor& kept, const at::Tensor& x, const Parameter& norm,
                    const BatchContext& context, const NormSaved& saved) {
  if (!norm.value.defined()) return {x};
  return {kept, x, NormWeightOf(norm, context), saved};
}

// Takes the gradient of a block's input past its norm, if it has one, and adds what reaches x past
// the block. `grad` is fresh, and may be overwritten.
at::Tensor InputBackward(Parameter& norm, const BatchContext& context, const at::Tensor& x,
                         const NormSaved& saved, const at::Tensor& grad,
                         const at::Tensor& residual) {
  if (!norm.value.defined()) return grad.add_(residual);
  return RmsNormBackward(x, NormWeightOf(norm, context), saved, grad, residual, norm.FreshGrad());
}

}  // namespace

at::Tensor DecoderLayerForward(const DecoderLayer& layer, int64_t index,
                               const BatchContext& context, const at::Tensor& x,
                               DecoderLayerSaved* saved) {
  saved->x = x;
  const at::Tensor product = ForwardToProduct(layer, index, context, /*keep_inputs=*/false, saved);
  return AddBranch(
      layer.mlp_output_norm, context,
      LinearForward(layer.down, product, DropoutOf(context, index, kDown), &saved->down_lora),
      saved->h, &saved->mlp_branch);
}

void DecoderLayerRecompute(const DecoderLayer& layer, int64_t index, const BatchContext& context,
                           DecoderLayerSaved* saved) {
  saved->product = ForwardToProduct(layer, index, context, /*keep_inputs=*/true, saved);
  const Dropout dropout = DropoutOf(context, index, kDown);
  if (!layer.mlp_output_norm.value.defined())
    return LinearRecompute(layer.down, saved->product, dropout, &saved->down_lora);
  BranchSaved& branch = saved->mlp_branch;
  branch.x = LinearForward(layer.down, saved->product, dropout, &saved->down_lora);
  NormedInput(layer.mlp_output_norm, context, branch.x, &branch.norm);
}

// Forward's steps in reverse; at either sum the gradient goes both ways, past the block and through
// it:
//   dproduct = norm'(m · dy) W_down          dgate_up = glu'(dproduct)
//   dh       = dy + norm2'(dgate_up W_gate_up)
//   dqkv     = mixer'(norm'(m · dh) W_o)
//   dx       = dh + norm1'(dqkv W_qkv)
// `grad` is overwritten by each step, so that a gradient is free once the next one exists. The
// norms add the way past the block themselves (`residual`).
at::Tensor DecoderLayerBackward(DecoderLayer& layer, int64_t index, const BatchContext& context,
                                const DecoderLayerSaved& saved, const at::Tensor& dy,
                                bool needs_dx) {
  at::Tensor grad = BranchBackward(layer.mlp_output_norm, context, saved.mlp_branch, dy);
  LinearInput input{saved.product.defined() ? saved.product
                                            : GluForward(saved.gate_up, context.activation)};
  grad = LinearBackward(layer.down, input, saved.down_lora, DropoutOf(context, index, kDown), grad,
                        true);
  grad = GluBackward(saved.gate_up, grad, context.activation);
  input = InputOf(saved.normed2, saved.h, layer.mlp_input_norm, context, saved.norm2);
  grad = LinearBackward(layer.gate_up, input, saved.gate_up_lora,
                        DropoutOf(context, index, kGateUp), grad, true);
  const at::Tensor dh =
      InputBackward(layer.mlp_input_norm, context, saved.h, saved.norm2, grad, /*residual=*/dy);

  grad = BranchBackward(layer.attention_output_norm, context, saved.attention_branch, dh);
  grad = LinearBackward(layer.o, {MixerOutput(layer, context, saved)}, saved.o_lora,
                        DropoutOf(context, index, kO), grad, true);
  grad = MixerBackward(layer, context, saved, grad);
  input = InputOf(saved.normed1, saved.x, layer.attention_input_norm, context, saved.norm1);
  grad = LinearBackward(layer.qkv, input, saved.qkv_lora, DropoutOf(context, index, kQkv), grad,
                        needs_dx);
  // Only layer 0 with adapters gets here: its norm is frozen too, so nothing needs norm1'.
  if (!needs_dx) return {};
  return InputBackward(layer.attention_input_norm, context, saved.x, saved.norm1, grad,
                       /*residual=*/dh);
}

}  // namespace ftd::engine
