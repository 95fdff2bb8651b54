// The pools of threads that calls run on, apart by what they may wait for: what one kind waits for
// keeps no other from being answered.
#pragma once

#include "server/host/task_pool.h"

namespace ftd {

struct Lanes {
  TaskPool reads{8};
  TaskPool writes{16};   // changes of jobs, which wait for a flush to disk
  TaskPool submits{8};   // of a model on this machine and uploaded data, up to their flush
  TaskPool hashing{4};   // submits that hash files of the server first
  TaskPool upkeep{2};    // what looks at all jobs' directories
  TaskPool waiting{16};  // submits that wait for the hub, or for a worker that reads all rows
  TaskPool follows{4};   // streams that follow a job or the queue
  TaskPool queries{2};   // QueryMetrics: few, since each keeps a core busy
  TaskPool downloads{4};
};

}  // namespace ftd
