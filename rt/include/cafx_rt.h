/* cafx_rt.h -- libcafx-rt: a model that cafx trained, as a real-time effect, in C.
 *
 *   char why[256];
 *   cafx_rt_model* model = cafx_rt_load("ds1.safetensors", why, sizeof why);
 *   cafx_rt_options options = CAFX_RT_OPTIONS_INIT;
 *   options.host_rate = 48000;
 *   cafx_rt_stream* stream = cafx_rt_prepare(model, &options, why, sizeof why);    // all memory is taken here
 *   cafx_rt_process(stream, in, out, n);                                            // audio thread, any n
 *
 * Audio    one channel, float, full scale 1. A stream for each channel; cafx_rt_twin makes one that shares the weights.
 * Delay    output sample i + cafx_rt_latency(stream) belongs to input sample i, exactly, for blocks of every length. It
 *          is constant, in samples of the host's rate, and includes resampling. The first `latency` samples out are 0.
 *          At the end of a signal feed that many zeros to get the rest.
 * Rates    a model has one rate (cafx_rt_info.sample_rate). At that host rate, output has the bits of `cafx render`
 *          with the same hop on the same instruction set. At any other from 4000 to 768000 Hz, to a whole Hz, the
 *          library resamples both ways: windowed sinc (Kaiser), linear phase, flat to 0.02 dB up to 0.9 of the lower
 *          rate's half, 100 dB down from there on. What the host has above the model's half rate does not pass.
 * Time     process takes no memory, gives none back, takes no lock, makes no call of the system. Denormal numbers count
 *          as zero inside it; the caller's mode comes back. All work of a frame is done in the block that completes it:
 *          a block in which c frames become complete takes c times cafx_rt_frame_seconds and little else.
 * Knobs    a model that was trained at several positions of knobs has them here too: cafx_rt_knobs and cafx_rt_knob of
 *          the model, cafx_rt_set_knob of a stream, which gets there in a straight line of 20 ms.
 * Threads  a model may be shared by all threads. A stream belongs to one thread at a time: hand it on as you would any
 *          memory. cafx_rt_process, cafx_rt_reset, cafx_rt_set_knob and the functions that only read are for the audio thread; load,
 *          prepare, twin, frame_seconds and free are not.
 * Lifetime a stream outlives its model: free them in any order. free of NULL does nothing.
 * Errors   no exception leaves the library. What makes something returns NULL and writes one line to `error`, cut to
 *          error_size with its closing 0 (NULL or 0: not wanted). What the caller breaks is CAFX_RT_ERROR_ARGUMENT.
 * Version  semantic, of this interface. Within a major version functions are only added, and structs grow only at their
 *          end: `size` says what the caller knows. The library's soname carries the major version.
 */
#ifndef CAFX_RT_H
#define CAFX_RT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CAFX_RT_VERSION_MAJOR 1
#define CAFX_RT_VERSION_MINOR 1
#define CAFX_RT_VERSION (CAFX_RT_VERSION_MAJOR * 1000 + CAFX_RT_VERSION_MINOR)

#if defined(__GNUC__)
#define CAFX_RT_API __attribute__((visibility("default")))
#else
#define CAFX_RT_API
#endif

typedef struct cafx_rt_model cafx_rt_model;   /* weights, never changed */
typedef struct cafx_rt_stream cafx_rt_stream; /* one channel at one rate and hop */

typedef enum cafx_rt_status { CAFX_RT_OK = 0, CAFX_RT_ERROR_ARGUMENT = 1 } cafx_rt_status;

typedef struct cafx_rt_info {
  uint32_t size;       /* sizeof(cafx_rt_info), set by the caller */
  int32_t sample_rate; /* Hz */
  int32_t frame;       /* samples at sample_rate; 1: the model plays sample by sample, without delay of its own */
  int32_t hop;         /* that the model was made for, samples at sample_rate; 1 likewise */
  int64_t parameters;
} cafx_rt_info;

typedef struct cafx_rt_knob_info {
  uint32_t size;     /* sizeof(cafx_rt_knob_info), set by the caller */
  int32_t positions; /* of a switch, whose value is the position's index, or nearest to it; 0: continuous */
  double min, max;   /* of the value */
  double start;      /* where a new stream has it */
  const char* name;  /* these live as long as the model */
  const char* unit;  /* "" where there is none */
} cafx_rt_knob_info;

typedef struct cafx_rt_options {
  uint32_t size;        /* sizeof(cafx_rt_options); CAFX_RT_OPTIONS_INIT sets it */
  int32_t hop;          /* samples at the model's rate between frames, 1 to half a frame; 0: the model's own, or half a
                           frame where that is less. Smaller is smoother and dearer. 0 for a model that plays
                           sample by sample. */
  double host_rate;     /* Hz; 0: the model's */
  int32_t block_length; /* samples at the host's rate: every block is a multiple of this, which lowers the latency where
                           host_rate is the model's; 0 or 1: blocks of any length; up to 1048576 */
  int32_t reserved;     /* 0 */
} cafx_rt_options;
#define CAFX_RT_OPTIONS_INIT \
  { sizeof(cafx_rt_options), 0, 0.0, 0, 0 }

/* CAFX_RT_VERSION of the library that runs, which may be newer than this header. */
CAFX_RT_API uint32_t cafx_rt_version(void);

/* A file that `cafx export` wrote, or the folder of a run. Reads it, checks it, keeps the weights. NULL: see error. */
CAFX_RT_API cafx_rt_model* cafx_rt_load(const char* path, char* error, size_t error_size);
CAFX_RT_API cafx_rt_status cafx_rt_describe(const cafx_rt_model*, cafx_rt_info* info);
CAFX_RT_API void cafx_rt_free_model(cafx_rt_model*);

/* How many knobs the model has (since 1.1); and the one of this index. */
CAFX_RT_API int32_t cafx_rt_knobs(const cafx_rt_model*);
CAFX_RT_API cafx_rt_status cafx_rt_knob(const cafx_rt_model*, int32_t index, cafx_rt_knob_info* info);
/* The name of a switch's position, as long as the model lives; NULL: there is none. */
CAFX_RT_API const char* cafx_rt_knob_position(const cafx_rt_model*, int32_t index, int32_t position);

/* NULL: see error. */
CAFX_RT_API cafx_rt_stream* cafx_rt_prepare(const cafx_rt_model*, const cafx_rt_options*, char* error,
                                            size_t error_size);
/* Another one at its beginning, with the same options. Not while that stream runs. NULL: no memory. */
CAFX_RT_API cafx_rt_stream* cafx_rt_twin(const cafx_rt_stream*);
CAFX_RT_API void cafx_rt_free(cafx_rt_stream*);

/* n samples in, n samples out; in == out is allowed, other overlap is not. With an argument that is NULL, or an n that
 * is no multiple of block_length: CAFX_RT_ERROR_ARGUMENT, zeros in `out` where it is given, the stream as it was. */
CAFX_RT_API cafx_rt_status cafx_rt_process(cafx_rt_stream*, const float* in, float* out, size_t n);
/* Turns a knob (since 1.1). A value out of its range, or an index that the model does not have: CAFX_RT_ERROR_ARGUMENT,
 * and the knob stays; an end of the range may come rounded to float. A twin begins where the knobs of its stream stand;
 * reset does not turn them. */
CAFX_RT_API cafx_rt_status cafx_rt_set_knob(cafx_rt_stream*, int32_t index, double value);
/* As if nothing had come yet. */
CAFX_RT_API void cafx_rt_reset(cafx_rt_stream*);

CAFX_RT_API size_t cafx_rt_latency(const cafx_rt_stream*); /* samples at the host's rate */
CAFX_RT_API int32_t cafx_rt_hop(const cafx_rt_stream*);    /* samples at the model's rate */

/* Seconds that one frame takes here (one sample of a model that plays sample by sample): the median over noise,
 * measured for about `budget` seconds; the stream is reset. It keeps up on the whole where this is less than
 * hop / sample_rate, within every block where it is also less than the block. Negative: an argument is wrong. */
CAFX_RT_API double cafx_rt_frame_seconds(cafx_rt_stream*, double budget);

#ifdef __cplusplus
}
#endif

#endif
