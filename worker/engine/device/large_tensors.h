// The memory of large tensors on the CPU.
#pragma once

namespace ftd::engine {

// Has all large tensors of this process placed side by side in an area of their own, each in the
// smallest gap that holds it (lib/plan/heap.h). malloc would leave a third as much again unused:
// what libraries allocate between tensors, and keep, takes the room that the next step needs, and
// an aligned block does not fit where an equal one was. Pages stay once they are touched, for the
// next step. To be called once, before there are tensors.
void PlaceLargeTensors();

}  // namespace ftd::engine
