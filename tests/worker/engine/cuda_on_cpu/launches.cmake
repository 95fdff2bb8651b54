# cmake -D FROM=kernels.cu -D TO=kernels.cc -P launches.cmake
#
# Kernel<T><<<blocks, threads, 0, stream>>>(…) becomes a call that C++ knows. All else stays, and the lines' numbers too.
file(READ "${FROM}" text)
string(REGEX REPLACE "([A-Za-z]+<[^<>]*(<[^<>]*>[^<>]*)?>)<<<([^;]*), (kThreads), 0,[ \n]*stream>>>\\(" "cuda_on_cpu::Launch(\\3, \\4, \\1, "
       text "${text}")
file(WRITE "${TO}" "#line 1 \"${FROM}\"\n${text}")
