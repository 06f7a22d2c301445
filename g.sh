cd /tmp/k5d
[ -n "$NB" ] || ./build.sh ${SRC:-/work/h-k5/kernels/dnn_saaf/dnn_saaf_persistent_cuda.cu} $1 2>&1 | grep -A4 "error\|warning" | head -30
VGPU_ARCH=90 /work/vgpu/vgpu-run ./$1 1 paper 1 | awk '{printf "%s ",$0} END{print ""}' | cut -c1-600
VGPU_BARLOG=bar.log VGPU_HOT_DUMP=$1.hot L=1 ./t.sh ./$1 66 | grep "^backw\|spills" | cut -c 1-230; python3 barseq.py bar.log 0,4,11 ${N:-Ready,Top,Curve,Last,Second,First,ch,p,p} | cut -c1-900
python3 ph.py $1.hot 32
